// The refusal table, continued: the domain of every option that losses share, from outside and from
// inside.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/wire/refusal.h"
#include "tests/wire/text_request.h"

namespace lossd::wire_test {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

const Domain kDomains[] = {
    {"label_smoothing",
     "softmax {} label_smoothing: VALUE",
     "label_smoothing",
     "a number in [0, 1]",
     {"-5e-324", "-0.1", "1.0000000000000002", "1.5", "inf", "-inf", "nan"},
     {"0", "-0", "0.1", "0.9999999999999999", "1"}},
    {"loss_weight",
     "nll {} loss_weight: VALUE",
     "loss_weight",
     "a finite number >= 0",
     {"-5e-324", "-1", "inf", "-inf", "nan"},
     {"0", "-0", "1e-300", "1e+300"}},
    {"denominator",
     "softmax {} reduction: REDUCTION_GIVEN denominator: VALUE",
     "denominator",
     "a finite number >= 0",
     {"-5e-324", "-1", "inf", "-inf", "nan"},
     {"5e-324", "1", "1797.5", "1.7976931348623157e+308"}},
    {"gradient_scale",
     "softmax {} gradient_scale: VALUE",
     "gradient_scale",
     "a finite number",
     {"inf", "-inf", "nan"},
     {"0", "-0", "-65536", "1e-300", "1.7976931348623157e+308"}},
    {"class_axis",
     "softmax {} class_axis: VALUE",
     "class_axis",
     "-2..1, since predictions.shape is [2,3]",
     {"2", "-3", "2147483647", "-2147483648"},
     {"1", "-1"}},
};

class Domains : public testing::TestWithParam<Domain> {};
TEST_P(Domains, EndWhereTheyShould) { ExpectDomain(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Refusals, Domains, testing::ValuesIn(kDomains),
                         [](const auto& info) { return info.param.name; });

// ----------------------------------------------------------------------------------------- enums

struct EnumOption {
  const char* field;
  const char* prefix;
  std::vector<const char*> names;
  const char* beside;  // what else a request needs so that every name is legal
};
void PrintTo(const EnumOption& option, std::ostream* out) { *out << option.field; }

const EnumOption kEnums[] = {
    {"weight_normalization",
     "WEIGHT_NORMALIZATION_",
     {"LOCAL", "GLOBAL", "NONE"},
     "class_weights { dtype: DTYPE_F32 shape: 3 data: $f32(1 2 3) }"},
    {"reduction", "REDUCTION_", {"POSITIONS", "VALID", "WEIGHT_SUM", "BATCH", "SUM", "NONE"}, ""},
    {"gradient_dtype", "DTYPE_", {"F32", "F64", "F16", "BF16"}, ""},
    {"all_ignored_policy", "ALL_IGNORED_POLICY_", {"ZERO", "NAN", "ERROR"}, ""},
    {"non_finite_policy", "NON_FINITE_POLICY_", {"PROPAGATE", "ERROR"}, ""},
};

class Enums : public testing::TestWithParam<EnumOption> {};

TEST_P(Enums, AreNamedValues) {
  const EnumOption& option = GetParam();
  const auto with = [&](const std::string& value) {
    return absl::StrCat("spec { softmax {} ", option.field, ": ", value, " }", option.beside);
  };
  const std::string unspecified = absl::StrCat(option.prefix, "UNSPECIFIED");
  const std::string wanted = absl::StrCat("; wanted one of ", option.prefix, option.names[0]);
  ExpectRefused(with(unspecified), kInvalid,
                absl::StrCat(option.field, " is ", unspecified, wanted));
  ExpectRefused(with("0"), kInvalid, absl::StrCat(option.field, " is ", unspecified, wanted));
  for (const char* number : {"99", "-1", "257", "2147483647", "-2147483648"}) {
    ExpectRefused(with(number), kUnimplemented,
                  absl::StrCat(option.field, " is ", number, ", which is not known", wanted));
  }
  for (const char* name : option.names) ExpectAnswered(with(absl::StrCat(option.prefix, name)));
}
INSTANTIATE_TEST_SUITE_P(Refusals, Enums, testing::ValuesIn(kEnums),
                         [](const auto& info) { return info.param.field; });

// --------------------------------------------------------------------------- one option or another

struct Row {
  const char* name;
  std::string text;
  const char* words;  // all are kInvalidArgument
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.text; }

constexpr const char kProbabilities[] =
    "class_probabilities { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 0 0 0 1 0) }";

// Labels and predictions of which the first dimension, the batch, holds the classes.
constexpr const char kClassesFirst[] =
    "class_indices { dtype: DTYPE_U8 shape: 3 data: $u8(0 1 1) }"
    "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 4 5 6) }";

std::string IgnoreLabels(int count) {
  return absl::StrCat("spec { softmax {} ignore_labels: [",
                      absl::StrJoin(std::vector<int>(count, -1), ","), "] }");
}

const Row kCombinations[] = {
    {"normalization_over_no_samples",
     absl::StrCat(
         "spec { softmax {} class_axis: 0", "  weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }",
         "class_weights { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 1 1 1 1 1) }", kClassesFirst),
     "weight_normalization is GLOBAL; wanted LOCAL or NONE: class_weights have the predictions' "
     "shape and the class axis 0 is the batch dimension"},
    {"ignore_labels_65", IgnoreLabels(65), "ignore_labels has 65 values; wanted at most 64"},
    {"ignore_labels_of_probabilities",
     absl::StrCat("spec { softmax {} ignore_labels: -100 }", kProbabilities),
     "ignore_labels has 1 values; wanted none with class_probabilities"},
    {"batch_of_classes",
     absl::StrCat("spec { softmax {} class_axis: 0 reduction: REDUCTION_BATCH }", kClassesFirst),
     "reduction is BATCH; wanted another one: the class axis 0 is the batch dimension"},
    {"batch_of_classes_column_major",
     "spec { softmax {} class_axis: -1 reduction: REDUCTION_BATCH }"
     "class_indices { dtype: DTYPE_U8 shape: 2 data: $u8(0 1) }"
     "predictions {"
     "  dtype: DTYPE_F32 shape: [2, 3] layout: LAYOUT_COLUMN_MAJOR data: $zeros(24) }",
     "reduction is BATCH; wanted another one: the class axis 1 is the batch dimension"},
    {"given_nothing", "spec { softmax {} reduction: REDUCTION_GIVEN }",
     "denominator is not set; wanted a finite number >= 0 with reduction GIVEN"},
    {"denominator_by_default", "spec { softmax {} denominator: 8 }",
     "denominator is 8; wanted none: the reduction is not GIVEN"},
    {"denominator_of_sum", "spec { softmax {} reduction: REDUCTION_SUM denominator: 1 }",
     "denominator is 1; wanted none: the reduction is not GIVEN"},
    {"gradient_dtype_i64", "spec { softmax {} gradient_dtype: DTYPE_I64 }",
     "gradient_dtype is i64; wanted f32, f64, f16 or bf16"},
    {"gradient_dtype_u8_unwanted",
     "spec { softmax {} gradient_dtype: DTYPE_U8 outputs { gradient: false } }",
     "gradient_dtype is u8; wanted f32, f64, f16 or bf16"},
    {"focal_smoothed", "spec { softmax { focal_gamma: 2 } label_smoothing: 0.1 }",
     "softmax.focal_gamma is 2; wanted none with label_smoothing"},
    {"focal_of_probabilities", absl::StrCat("spec { softmax { focal_gamma: 0 } }", kProbabilities),
     "softmax.focal_gamma is 0; wanted none with class_probabilities"},
    {"class_bias_of_nll",
     "spec { nll {} } class_bias { dtype: DTYPE_F32 shape: 3 data: $f32(0 1 2) }",
     "class_bias is given; wanted none: the loss nll does not take it"},
    {"class_bias_of_one_sample",
     "class_bias { dtype: DTYPE_F32 shape: [2, 3] data: $f32(0 1 2 3 4 5) }",
     "class_bias.shape is [2,3]; wanted [3], one for each class"},
    {"class_bias_of_bytes", "class_bias { dtype: DTYPE_U8 shape: 3 data: $u8(0 1 2) }",
     "class_bias.dtype is u8; wanted f32, f64, f16 or bf16"},
    {"values_of_softmax",
     "target_values { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 0 0 0 1 0) }",
     "target_values is given; wanted none: the loss softmax does not take it"},
    {"labels_of_squared_error",
     "spec { squared_error {} } class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(2 0) }",
     "class_indices is given; wanted none: the loss squared_error does not take it"},
    {"log_sum_exp_of_nll", "spec { nll {} outputs { log_sum_exp: true } }",
     "outputs.log_sum_exp is true; wanted false: only the softmax loss has it"},
    {"log_sum_exp_of_multinomial_logistic",
     "spec { multinomial_logistic {} outputs { log_sum_exp: true } }",
     "outputs.log_sum_exp is true; wanted false: only the softmax loss has it"},
    {"probabilities_of_nll", "spec { nll {} outputs { probabilities: true } }",
     "outputs.probabilities is true; wanted false: only the softmax loss has it"},
    {"probabilities_of_multinomial_logistic",
     "spec { multinomial_logistic {} outputs { probabilities: true } }",
     "outputs.probabilities is true; wanted false: only the softmax loss has it"},
};

class Combinations : public testing::TestWithParam<Row> {};
TEST_P(Combinations, Refused) { ExpectRefused(GetParam().text, kInvalid, GetParam().words); }
INSTANTIATE_TEST_SUITE_P(Refusals, Combinations, testing::ValuesIn(kCombinations),
                         [](const auto& info) { return info.param.name; });

// --------------------------------------------------------------------------- what is not refused

const Row kAccepted[] = {
    {"nothing_special", "", ""},
    {"ignore_labels_64", IgnoreLabels(64), ""},
    {"smoothed_probabilities",
     absl::StrCat("spec { softmax {} label_smoothing: 0.1 }", kProbabilities), ""},
    {"probabilities_not_finite",
     "class_probabilities { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 -2 nan 0 inf 0) }", ""},
    {"upstream_not_finite", "upstream_gradient { dtype: DTYPE_F32 shape: 2 data: $f32(nan -inf) }",
     ""},
    {"predictions_not_finite",
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(nan inf 1 -inf -inf -inf) }", ""},
    {"ignored_row_not_finite",
     "spec { softmax {} ignore_labels: 2 non_finite_policy: NON_FINITE_POLICY_ERROR }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(nan 2 3 0.5 -1 0) }",
     ""},
    {"masked_class",
     "spec { softmax {} non_finite_policy: NON_FINITE_POLICY_ERROR }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 -inf 3 0.5 -1 0) }",
     ""},
    {"labels_of_vector",
     "class_indices { dtype: DTYPE_BF16 data: $u16(0x4000) }"
     "predictions { dtype: DTYPE_F16 shape: 3 data: $u16(0 0 0) }",
     ""},
    {"batch_of_vector",
     "spec { softmax {} reduction: REDUCTION_BATCH }"
     "class_indices { dtype: DTYPE_U8 shape: 1 data: $u8(2) }"
     "predictions { dtype: DTYPE_F64 shape: 3 data: $f64(0 0 0) }",
     ""},
    {"column_major_matrix",
     "class_indices { dtype: DTYPE_F32 shape: [1, 2] data: $f32(2 -0) }"
     "predictions {"
     "  dtype: DTYPE_F32 shape: [3, 2] layout: LAYOUT_COLUMN_MAJOR data: $zeros(24) }",
     ""},
    {"classes_first_with_class_weights",
     absl::StrCat("spec { softmax {} class_axis: 0",
                  "  weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }",
                  "class_weights { dtype: DTYPE_F32 shape: 2 data: $f32(1 2) }", kClassesFirst),
     ""},
    {"class_weights_0_not_normalised",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_NONE }"
     "class_weights { dtype: DTYPE_F32 shape: 3 data: $f32(0 -0 0) }",
     ""},
    {"class_weights_0_at_one_location_of_a_sample",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }"
     "class_indices { dtype: DTYPE_U8 shape: [1, 2] data: $u8(0 1) }"
     "class_weights { dtype: DTYPE_F32 shape: [3, 2] data: $f32(0 1 0 1 0 1) }"
     "predictions { dtype: DTYPE_F32 shape: [1, 3, 2] data: $zeros(24) }",
     ""},
    {"ignored_float_label",
     "spec { softmax {} ignore_labels: -100 }"
     "class_indices { dtype: DTYPE_F32 shape: 2 data: $f32(-100 1) }",
     ""},
    {"no_samples",
     "class_indices { dtype: DTYPE_I64 shape: 0 } predictions { dtype: DTYPE_F32 shape: [0, 3] }",
     ""},
    {"no_samples_but_weights",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }"
     "class_indices { dtype: DTYPE_I64 shape: 0 }"
     "class_weights { dtype: DTYPE_F32 shape: [0, 3] }"
     "predictions { dtype: DTYPE_F32 shape: [0, 3] }",
     ""},
    {"no_pixels_but_samples",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }"
     "class_indices { dtype: DTYPE_I64 shape: [2, 0] }"
     "class_weights { dtype: DTYPE_F32 shape: [2, 3, 0] }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3, 0] }",
     ""},
    {"no_pixels_but_weights",
     "class_indices { dtype: DTYPE_I64 shape: [2, 0] }"
     "class_weights { dtype: DTYPE_F32 shape: [3, 0] }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3, 0] }",
     ""},
    {"rank_8",
     "class_indices { dtype: DTYPE_U8 shape: [2, 1, 1, 1, 1, 1, 1] data: $u8(0 2) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3, 1, 1, 1, 1, 1, 1] data: $zeros(24) }",
     ""},
    {"target_values",
     "spec { squared_error {} class_axis: 0 reduction: REDUCTION_WEIGHT_SUM }"
     "target_values { dtype: DTYPE_U8 shape: [2, 3] data: $u8(1 2 3 4 5 255) }",
     ""},
    {"target_values_not_finite",
     "spec { squared_error {} }"
     "target_values { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 -2 nan 0 inf 0) }",
     ""},
    {"class_bias", "class_bias { dtype: DTYPE_F64 shape: 3 data: $f64(-inf 0.5 -2) }", ""},
    {"normalization_without_weights",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }", ""},
    {"everything_at_once",
     "spec { softmax { log_floor: 1e-20 } class_axis: -1 ignore_labels: 2 label_smoothing: 0.1"
     "  weight_normalization: WEIGHT_NORMALIZATION_LOCAL loss_weight: 0.5"
     "  reduction: REDUCTION_GIVEN denominator: 8 gradient_scale: 1024 gradient_dtype: DTYPE_BF16"
     "  all_ignored_policy: ALL_IGNORED_POLICY_NAN non_finite_policy: NON_FINITE_POLICY_ERROR"
     "  outputs { gradient: true position_losses: true log_sum_exp: true argmax_hits: true"
     "            probabilities: true } }"
     "class_weights { dtype: DTYPE_F64 shape: [2, 3] data: $f64(1 2 3 4 5 6) }"
     "position_weights { dtype: DTYPE_BF16 shape: [2, 1] data: $u16(0x3f80 0) }"
     "upstream_gradient { dtype: DTYPE_F16 shape: 2 data: $u16(0x3c00 0xbc00) }",
     ""},
};

class Accepted : public testing::TestWithParam<Row> {};
TEST_P(Accepted, Answered) {
  ExpectAnswered(GetParam().text);
  EXPECT_EQ(PlanOfHeader(RequestWith(GetParam().text)), absl::OkStatus());
}
INSTANTIATE_TEST_SUITE_P(Refusals, Accepted, testing::ValuesIn(kAccepted),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lossd::wire_test
