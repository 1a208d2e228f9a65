// The refusal table, continued: labels, weights and predictions that are wrong in their values.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/wire/text_request.h"

namespace lossd::wire_test {
namespace {

// All are kInvalidArgument.
struct Row {
  const char* name;
  const char* text;
  const char* words;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.text; }

const Row kContents[] = {
    // Labels of every dtype; there are classes 0..2.
    {"label_i8_below", "class_indices { dtype: DTYPE_I8 shape: 2 data: $i8(0 -1) }",
     "class_indices[1] is -1; wanted a label in 0..2"},
    {"label_i16_below", "class_indices { dtype: DTYPE_I16 shape: 2 data: $i16(-32768 0) }",
     "class_indices[0] is -32768; wanted a label in 0..2"},
    {"label_i32_above", "class_indices { dtype: DTYPE_I32 shape: 2 data: $i32(2 3) }",
     "class_indices[1] is 3; wanted a label in 0..2"},
    {"label_i64_above",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(0 9223372036854775807) }",
     "class_indices[1] is 9223372036854775807; wanted a label in 0..2"},
    {"label_i64_0_in_32_bits",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(0 4294967296) }",
     "class_indices[1] is 4294967296; wanted a label in 0..2"},
    {"label_i64_smallest",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(0 -9223372036854775808) }",
     "class_indices[1] is -9223372036854775808; wanted a label in 0..2"},
    {"label_u8_above", "class_indices { dtype: DTYPE_U8 shape: 2 data: $u8(0 255) }",
     "class_indices[1] is 255; wanted a label in 0..2"},
    {"label_u16_above", "class_indices { dtype: DTYPE_U16 shape: 2 data: $u16(3 0) }",
     "class_indices[0] is 3; wanted a label in 0..2"},
    {"label_u32_above", "class_indices { dtype: DTYPE_U32 shape: 2 data: $u32(0 4294967295) }",
     "class_indices[1] is 4294967295; wanted a label in 0..2"},
    {"label_u64_minus_1_in_i64",
     "class_indices { dtype: DTYPE_U64 shape: 2 data: $u64(0 18446744073709551615) }",
     "class_indices[1] is 18446744073709551615; wanted a label in 0..2"},
    {"label_u64_ignored_in_i64",
     "spec { softmax {} ignore_labels: -1 }"
     "class_indices { dtype: DTYPE_U64 shape: 2 data: $u64(0 18446744073709551615) }",
     "class_indices[1] is 18446744073709551615; wanted a label in 0..2 or one of ignore_labels -1"},
    {"label_f32_fraction", "class_indices { dtype: DTYPE_F32 shape: 2 data: $f32(0 0.5) }",
     "class_indices[1] is 0.5; wanted a label in 0..2"},
    {"label_f32_nan", "class_indices { dtype: DTYPE_F32 shape: 2 data: $f32(nan 0) }",
     "class_indices[0] is nan; wanted a label in 0..2"},
    {"label_f32_inf", "class_indices { dtype: DTYPE_F32 shape: 2 data: $f32(0 inf) }",
     "class_indices[1] is inf; wanted a label in 0..2"},
    {"label_f32_minus_inf", "class_indices { dtype: DTYPE_F32 shape: 2 data: $f32(0 -inf) }",
     "class_indices[1] is -inf; wanted a label in 0..2"},
    {"label_f64_above", "class_indices { dtype: DTYPE_F64 shape: 2 data: $f64(0 3) }",
     "class_indices[1] is 3; wanted a label in 0..2"},
    {"label_f64_huge", "class_indices { dtype: DTYPE_F64 shape: 2 data: $f64(0 1e300) }",
     "class_indices[1] is 1e+300; wanted a label in 0..2"},
    {"label_f64_below", "class_indices { dtype: DTYPE_F64 shape: 2 data: $f64(-1 0) }",
     "class_indices[0] is -1; wanted a label in 0..2"},
    {"label_f16_above", "class_indices { dtype: DTYPE_F16 shape: 2 data: $u16(0 0x4200) }",
     "class_indices[1] is 3; wanted a label in 0..2"},
    {"label_f16_fraction", "class_indices { dtype: DTYPE_F16 shape: 2 data: $u16(0x3800 0) }",
     "class_indices[0] is 0.5; wanted a label in 0..2"},
    {"label_bf16_above", "class_indices { dtype: DTYPE_BF16 shape: 2 data: $u16(0 0x4040) }",
     "class_indices[1] is 3; wanted a label in 0..2"},
    {"label_bf16_nan", "class_indices { dtype: DTYPE_BF16 shape: 2 data: $u16(0 0x7fc0) }",
     "class_indices[1] is nan; wanted a label in 0..2"},
    {"label_minus_100_not_implied",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(-100 0) }",
     "class_indices[0] is -100; wanted a label in 0..2"},
    {"label_beside_ignored",
     "spec { softmax {} ignore_labels: [-100, 7] }"
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(-100 8) }",
     "class_indices[1] is 8; wanted a label in 0..2 or one of ignore_labels -100, 7"},
    {"label_of_other_losses",
     "spec { nll {} } class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(3 0) }",
     "class_indices[0] is 3; wanted a label in 0..2"},
    {"label_where_weight_is_0",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(0 3) }"
     "position_weights { dtype: DTYPE_F32 shape: 2 data: $f32(1 0) }",
     "class_indices[1] is 3; wanted a label in 0..2"},

    {"class_bias_inf", "class_bias { dtype: DTYPE_F32 shape: 3 data: $f32(-inf inf 1) }",
     "class_bias[1] is inf; wanted a finite number or -inf"},
    {"class_bias_nan", "class_bias { dtype: DTYPE_F64 shape: 3 data: $f64(0 1 nan) }",
     "class_bias[2] is nan; wanted a finite number or -inf"},
    {"class_weight_negative", "class_weights { dtype: DTYPE_F32 shape: 3 data: $f32(1 -0.5 1) }",
     "class_weights[1] is -0.5; wanted a finite number >= 0"},
    {"class_weight_nan", "class_weights { dtype: DTYPE_F64 shape: 3 data: $f64(1 1 nan) }",
     "class_weights[2] is nan; wanted a finite number >= 0"},
    {"class_weight_inf", "class_weights { dtype: DTYPE_F32 shape: 3 data: $f32(inf 1 1) }",
     "class_weights[0] is inf; wanted a finite number >= 0"},
    {"class_weight_f16_inf", "class_weights { dtype: DTYPE_F16 shape: 3 data: $u16(0 0 0x7c00) }",
     "class_weights[2] is inf; wanted a finite number >= 0"},
    {"class_weight_negative_not_normalised",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_NONE }"
     "class_weights { dtype: DTYPE_F32 shape: 3 data: $f32(1 1 -1) }",
     "class_weights[2] is -1; wanted a finite number >= 0"},
    {"class_weights_all_0", "class_weights { dtype: DTYPE_F32 shape: 3 data: $f32(0 -0 0) }",
     "class_weights sum to 0 over the classes at location 0; normalisation wants a finite sum > 0"},
    {"class_weights_0_at_one_location",
     "class_weights { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0 0 0) }",
     "class_weights sum to 0 over the classes at location 1; normalisation wants a finite sum > 0"},
    {"class_weights_0_for_one_sample",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_GLOBAL }"
     "class_weights { dtype: DTYPE_F32 shape: [2, 3] data: $f32(0 0 0 1 2 3) }",
     "class_weights sum to 0 over sample 0; normalisation wants a finite sum > 0"},
    {"class_weights_sum_overflows",
     "class_weights { dtype: DTYPE_F64 shape: 3 data: $f64(1e308 1e308 1e308) }",
     "over the classes at location 0; normalisation wants a finite sum > 0"},

    {"position_weight_negative", "position_weights { dtype: DTYPE_F32 shape: 2 data: $f32(1 -2) }",
     "position_weights[1] is -2; wanted a finite number >= 0"},
    {"position_weight_nan", "position_weights { dtype: DTYPE_F32 shape: 2 data: $f32(nan 1) }",
     "position_weights[0] is nan; wanted a finite number >= 0"},
    {"position_weight_inf", "position_weights { dtype: DTYPE_F64 shape: 2 data: $f64(1 inf) }",
     "position_weights[1] is inf; wanted a finite number >= 0"},
    {"position_weight_bf16", "position_weights { dtype: DTYPE_BF16 shape: 2 data: $u16(0 0xbf80) }",
     "position_weights[1] is -1; wanted a finite number >= 0"},
    {"position_weight_of_probabilities",
     "class_probabilities { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 0 0 0 1 0) }"
     "position_weights { dtype: DTYPE_F32 shape: 2 data: $f32(1 -1) }",
     "position_weights[1] is -1; wanted a finite number >= 0"},

    {"all_ignored",
     "spec { softmax {} ignore_labels: [0, 2] reduction: REDUCTION_VALID"
     "  all_ignored_policy: ALL_IGNORED_POLICY_ERROR }",
     "reduction VALID has denominator 0 over 2 positions; all_ignored_policy ERROR wants"},
    {"no_weight",
     "spec { softmax {} reduction: REDUCTION_WEIGHT_SUM"
     "  all_ignored_policy: ALL_IGNORED_POLICY_ERROR }"
     "position_weights { dtype: DTYPE_F32 shape: 2 data: $f32(0 0) }",
     "reduction WEIGHT_SUM has denominator 0 over 2 positions; all_ignored_policy ERROR wants"},
    {"no_positions_to_count",
     "spec { softmax {} reduction: REDUCTION_VALID"
     "  all_ignored_policy: ALL_IGNORED_POLICY_ERROR }"
     "class_indices { dtype: DTYPE_I64 shape: 0 }"
     "predictions { dtype: DTYPE_F32 shape: [0, 3] }",
     "reduction VALID has denominator 0 over 0 positions; all_ignored_policy ERROR wants"},
    {"no_target_weight",
     "spec { softmax {} reduction: REDUCTION_WEIGHT_SUM"
     "  all_ignored_policy: ALL_IGNORED_POLICY_ERROR }"
     "class_probabilities { dtype: DTYPE_F32 shape: [2, 3] data: $f32(0 0 0 0 0 0) }",
     "reduction WEIGHT_SUM has denominator 0 over 2 positions; all_ignored_policy ERROR wants"},

    {"prediction_nan",
     "spec { softmax {} non_finite_policy: NON_FINITE_POLICY_ERROR }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0 nan 0) }",
     "predictions of position 1 are not finite; non_finite_policy ERROR wants every row finite"},
    {"prediction_inf",
     "spec { softmax {} non_finite_policy: NON_FINITE_POLICY_ERROR }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(inf 2 3 0 nan 0) }",
     "predictions of position 0 are not finite; non_finite_policy ERROR wants every row finite"},
    {"predictions_all_masked",
     "spec { softmax {} non_finite_policy: NON_FINITE_POLICY_ERROR }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 -inf -inf -inf) }",
     "predictions of position 1 are not finite; non_finite_policy ERROR wants every row finite"},
    {"prediction_nan_at_the_label",
     "spec { multinomial_logistic {} non_finite_policy: NON_FINITE_POLICY_ERROR }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 nan 1 1) }",
     "predictions of position 1 are not finite; non_finite_policy ERROR wants every row finite"},
};

class Contents : public testing::TestWithParam<Row> {};
TEST_P(Contents, Refused) {
  const v1::ComputeRequest request = RequestWith(GetParam().text);
  // Nothing but the values is wrong.
  EXPECT_EQ(PlanOf(request), absl::OkStatus());
  EXPECT_EQ(PlanOfHeader(request), absl::OkStatus());
  const absl::Status status = Answer(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Refusals, Contents, testing::ValuesIn(kContents),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lossd::wire_test
