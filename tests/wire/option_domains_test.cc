// The refusal table, continued: the domain of every option, from outside and from inside.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <google/protobuf/message.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "lossd/losses.h"
#include "tests/wire/text_request.h"

namespace lossd::wire_test {
namespace {

using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

// A request with these fields and, of the tensors that its loss needs, those that it has not.
v1::ComputeRequest FullRequest(const std::string& text) {
  v1::ComputeRequest request = RequestWith(text);
  const auto number = static_cast<int>(request.spec().loss_case());
  const auto* const found = std::find_if(kLossFacts.begin(), kLossFacts.end(),
                                         [&](const LossFacts& f) { return f.number == number; });
  const bool of_tokens = request.spec().policy().input() == v1::PolicyLoss::LOG_PROBABILITIES;
  const LossFacts* const facts = of_tokens ? &kOtherFacts<LossRow<PolicyLoss>> : found;
  const bool has_more = facts != kLossFacts.end() &&
                        (facts->family == Family::kElements || facts->family == Family::kRows);
  if (!has_more) return request;
  const bool has_labels = text.find("class_indices") != std::string::npos;
  if (!Takes(*facts, Role::kClassIndices) && !has_labels) request.clear_class_indices();
  for (const TensorRule& rule : facts->tensors) {
    const bool by_option = rule.presence == Presence::kByOption &&
                           (!of_tokens || request.spec().policy().kl_coefficient() != 0);
    if (rule.presence != Presence::kRequired && !by_option) continue;
    const auto* const field =
        v1::ComputeRequest::descriptor()->FindFieldByNumber(static_cast<int>(rule.role));
    const google::protobuf::Reflection& reflection = *request.GetReflection();
    if (reflection.HasField(request, field) || (field->containing_oneof() && has_labels)) continue;
    reflection.MutableMessage(&request, field)
        ->CopyFrom(ParseRequest("predictions { dtype: DTYPE_F32 shape: [2, 3]"
                                " data: $f32(1 1 1 1 1 1) }")
                       .predictions());
  }
  return request;
}

void ExpectRefused(const std::string& text, absl::StatusCode code, const std::string& words) {
  SCOPED_TRACE(text);
  const v1::ComputeRequest request = FullRequest(text);
  const absl::Status status = Answer(request);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  EXPECT_EQ(PlanOfHeader(request), status);
}

void ExpectAnswered(const std::string& text) {
  SCOPED_TRACE(text);
  EXPECT_EQ(Answer(FullRequest(text)), absl::OkStatus());
}

// --------------------------------------------------------------------------------------- numbers

// VALUE stands for a value in the spec, and is what a refusal prints.
struct Domain {
  const char* name;
  const char* spec;
  const char* field;
  const char* wanted;
  std::vector<const char*> outside;
  std::vector<const char*> inside;
};
void PrintTo(const Domain& domain, std::ostream* out) { *out << domain.name; }

const Domain kDomains[] = {
    {"log_floor",
     "softmax { log_floor: VALUE }",
     "softmax.log_floor",
     "a number in [0, 1)",
     {"-5e-324", "-0.5", "1", "1.5", "inf", "-inf", "nan"},
     {"0", "-0", "5e-324", "1e-20", "0.9999999999999999"}},
    {"lse_square_scale",
     "softmax { lse_square_scale: VALUE }",
     "softmax.lse_square_scale",
     "a finite number >= 0",
     {"-5e-324", "-1", "inf", "-inf", "nan"},
     {"0", "-0", "1e-4", "1e+300"}},
    {"soft_cap",
     "softmax { soft_cap: VALUE }",
     "softmax.soft_cap",
     "a finite number > 0",
     {"0", "-0", "-1", "inf", "-inf", "nan"},
     {"5e-324", "30", "1.7976931348623157e+308"}},
    {"temperature",
     "softmax { temperature: VALUE }",
     "softmax.temperature",
     "a finite number > 0",
     {"0", "-0", "-1", "inf", "-inf", "nan"},
     {"5e-324", "0.7", "1.7976931348623157e+308"}},
    {"softmax_focal_gamma",
     "softmax { focal_gamma: VALUE }",
     "softmax.focal_gamma",
     "a finite number >= 0",
     {"-5e-324", "-1", "inf", "-inf", "nan"},
     {"0", "-0", "0.5", "2", "1e+300"}},
    {"entropy_bonus",
     "softmax { entropy_bonus: VALUE }",
     "softmax.entropy_bonus",
     "a finite number >= 0",
     {"-5e-324", "-1", "inf", "-inf", "nan"},
     {"0", "-0", "0.01", "1e+300"}},
    {"log_epsilon",
     "multinomial_logistic { log_epsilon: VALUE }",
     "multinomial_logistic.log_epsilon",
     "a number in [0, 1)",
     {"-5e-324", "-1", "1", "2", "inf", "-inf", "nan"},
     {"0", "-0", "5e-324", "0.9999999999999999"}},
    {"bce_log_epsilon",
     "binary_cross_entropy { input: PROBABILITIES log_epsilon: VALUE }",
     "binary_cross_entropy.log_epsilon",
     "a number in [0, 0.5)",
     {"-5e-324", "0.5", "1", "inf", "nan"},
     {"0", "1e-20", "0.49999999999999994"}},
    {"focal_gamma",
     "sigmoid_focal { gamma: VALUE }",
     "sigmoid_focal.gamma",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.5", "2", "1e+300"}},
    {"focal_alpha",
     "sigmoid_focal { alpha: VALUE }",
     "sigmoid_focal.alpha",
     "a number in [0, 1]",
     {"-5e-324", "1.0000000000000002", "inf", "nan"},
     {"0", "0.25", "1"}},
    {"hinge_margin",
     "hinge { margin: VALUE }",
     "hinge.margin",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"5e-324", "1", "1e+300"}},
    {"hinge_power",
     "hinge { power: VALUE }",
     "hinge.power",
     "1 or 2",
     {"0", "3", "-1"},
     {"1", "2"}},
    {"smooth_l1_beta",
     "smooth_l1 { beta: VALUE }",
     "smooth_l1.beta",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "1", "1e+300"}},
    {"huber_delta",
     "huber { delta: VALUE }",
     "huber.delta",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"5e-324", "1", "1e+300"}},
    {"quantiles",
     "quantile { quantiles: VALUE }",
     "quantile.quantiles",
     "a number in (0, 1)",
     {"0", "1", "-1", "inf", "nan"},
     {"5e-324", "0.5", "0.9999999999999999"}},
    {"poisson_epsilon",
     "poisson_nll { epsilon: VALUE }",
     "poisson_nll.epsilon",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "1e-08"}},
    {"gaussian_epsilon",
     "gaussian_nll { epsilon: VALUE }",
     "gaussian_nll.epsilon",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"5e-324", "1e-06"}},
    {"ranking_margin",
     "margin_ranking { margin: VALUE }",
     "margin_ranking.margin",
     "a finite number",
     {"inf", "-inf", "nan"},
     {"0", "-1", "1"}},
    {"pairwise_margin",
     "pairwise_logistic { margin: VALUE }",
     "pairwise_logistic.margin",
     "a finite number",
     {"inf", "-inf", "nan"},
     {"0", "-1", "1"}},
    {"preference_beta",
     "preference { beta: VALUE }",
     "preference.beta",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"5e-324", "0.1", "10"}},
    {"preference_smoothing",
     "preference { label_smoothing: VALUE }",
     "preference.label_smoothing",
     "a number in [0, 0.5]",
     {"-5e-324", "0.6", "1", "nan"},
     {"0", "0.1", "0.5"}},
    {"preference_gamma",
     "preference { variant: SIMPO gamma: VALUE }",
     "preference.gamma",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.5", "10"}},
    {"kto_beta",
     "kto { beta: VALUE }",
     "kto.beta",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"5e-324", "0.1"}},
    {"kto_reference_kl",
     "kto { reference_kl: VALUE }",
     "kto.reference_kl",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "1"}},
    {"kto_desirable_weight",
     "kto { desirable_weight: VALUE }",
     "kto.desirable_weight",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "1"}},
    {"kto_undesirable_weight",
     "kto { undesirable_weight: VALUE }",
     "kto.undesirable_weight",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "1"}},
    {"value_clip",
     "value { value_clip: VALUE }",
     "value.value_clip",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.2"}},
    {"distillation_mixture",
     "distillation { divergence: JENSEN_SHANNON mixture: VALUE }",
     "distillation.mixture",
     "a number in (0, 1)",
     {"0", "1", "-1", "nan"},
     {"0.5", "5e-324"}},
    {"distillation_temperature",
     "distillation { temperature: VALUE }",
     "distillation.temperature",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.5", "2"}},
    {"multi_margin_margin",
     "multi_margin { margin: VALUE }",
     "multi_margin.margin",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.5", "2"}},
    {"multi_margin_power",
     "multi_margin { power: VALUE }",
     "multi_margin.power",
     "1 or 2",
     {"0", "3"},
     {"1", "2"}},
    {"policy_ratio_low",
     "policy { ppo { ratio_low: VALUE } input: LOG_PROBABILITIES }",
     "policy.ppo.ratio_low",
     "a number in [0, 1]",
     {"-5e-324", "1.5", "inf", "nan"},
     {"0", "0.8", "1"}},
    {"policy_ratio_high",
     "policy { cispo { ratio_high: VALUE } input: LOG_PROBABILITIES }",
     "policy.cispo.ratio_high",
     "a finite number >= 1",
     {"0.9", "-1", "inf", "nan"},
     {"1", "1.28", "1e+300"}},
    {"policy_ratio_cap",
     "policy { ppo { ratio_cap: VALUE } input: LOG_PROBABILITIES }",
     "policy.ppo.ratio_cap",
     "a finite number >= 1",
     {"0.9", "inf", "nan"},
     {"1.3", "3"}},
    {"policy_beta",
     "policy { dro { beta: VALUE } input: LOG_PROBABILITIES }",
     "policy.dro.beta",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"5e-324", "1"}},
    {"policy_tau",
     "policy { sapo { tau_positive: VALUE } input: LOG_PROBABILITIES }",
     "policy.sapo.tau_positive",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.5", "1"}},
    {"policy_temperature",
     "policy { ppo {} temperature: VALUE } } advantages { dtype: DTYPE_F32 shape: 2 data: $f32(1 "
     "1)",
     "policy.temperature",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.5", "1"}},
    {"policy_soft_cap",
     "policy { ppo {} soft_cap: VALUE } } advantages { dtype: DTYPE_F32 shape: 2 data: $f32(1 1)",
     "policy.soft_cap",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.5", "30"}},
    {"policy_entropy_bonus",
     "policy { ppo {} entropy_bonus: VALUE } } advantages { dtype: DTYPE_F32 shape: 2 data: $f32(1 "
     "1)",
     "policy.entropy_bonus",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.01"}},
    {"policy_kl_coefficient",
     "policy { importance_sampling {} kl_coefficient: VALUE input: LOG_PROBABILITIES }",
     "policy.kl_coefficient",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0.1", "1"}},
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

TEST_P(Domains, EndWhereTheyShould) {
  const Domain& domain = GetParam();
  const auto with = [&](const char* value) {
    return absl::StrCat("spec { ", absl::StrReplaceAll(domain.spec, {{"VALUE", value}}), " }");
  };
  for (const char* value : domain.outside) {
    ExpectRefused(with(value), kInvalid,
                  absl::StrCat(domain.field, " is ", value, "; wanted ", domain.wanted));
  }
  for (const char* value : domain.inside) ExpectAnswered(with(value));
}
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

// Those among the options of losses: LOSS.OPTION.
struct LossEnum {
  const char* loss;
  const char* option;
  const char* prefix;
  std::vector<const char*> names;
};
const LossEnum kLossEnums[] = {
    {"binary_cross_entropy", "input", "", {"LOGITS", "PROBABILITIES"}},
    {"binary_cross_entropy", "targets", "BINARY_TARGETS_", {"ZERO_ONE", "SIGNED"}},
    {"sigmoid_focal", "targets", "BINARY_TARGETS_", {"ZERO_ONE", "SIGNED"}},
    {"hinge", "targets", "BINARY_TARGETS_", {"ZERO_ONE", "SIGNED"}},
    {"gaussian_nll", "spread", "SPREAD_", {"VARIANCE", "LOG_VARIANCE", "STANDARD_DEVIATION"}},
    {"gaussian_kl", "spread", "SPREAD_", {"VARIANCE", "LOG_VARIANCE", "STANDARD_DEVIATION"}},
    {"distillation", "divergence", "", {"FORWARD_KL", "REVERSE_KL", "JENSEN_SHANNON"}},
    {"multi_margin", "aggregate", "", {"SUM", "MAX"}},
    {"preference",
     "variant",
     "",
     {"SIGMOID", "ROBUST", "IPO", "HINGE", "SPPO_HARD", "APO_ZERO", "APO_DOWN", "BCO_PAIR",
      "NCA_PAIR", "CPO", "SIMPO", "ORPO"}},
};

TEST(LossEnums, AreNamedValues) {
  for (const LossEnum& option : kLossEnums) {
    const auto with = [&](const std::string& value) {
      return absl::StrCat("spec { ", option.loss, " { ", option.option, ": ", value, " } }");
    };
    const std::string field = absl::StrCat(option.loss, ".", option.option, " is ");
    const std::string wanted = absl::StrCat("; wanted one of ", option.prefix, option.names[0]);
    ExpectRefused(with("0"), kInvalid, wanted);
    for (const char* number : {"99", "127", "128", "-1", "2147483647"}) {
      ExpectRefused(with(number), kUnimplemented,
                    absl::StrCat(field, number, ", which is not known", wanted));
    }
    for (const char* name : option.names) {
      ExpectAnswered(with(absl::StrCat(option.prefix, name)));
    }
  }
}

TEST(LossConflicts, NameBothSides) {
  ExpectRefused("spec { preference { variant: IPO label_smoothing: 0.1 } }", kInvalid,
                "preference.label_smoothing is given; wanted 0 unless the variant is SIGMOID or "
                "ROBUST");
  ExpectRefused("spec { preference { variant: ROBUST label_smoothing: 0.5 } }", kInvalid,
                "preference.label_smoothing is given; wanted a number in [0, 0.5) with the variant "
                "ROBUST");
  ExpectRefused("spec { policy { input: LOG_PROBABILITIES } }", kInvalid,
                "policy.objective is not set; wanted one of importance_sampling, ppo, cispo, dro, "
                "sapo");
  ExpectRefused("spec { policy { ppo {} temperature: 2 input: LOG_PROBABILITIES } }", kInvalid,
                "policy.temperature is given; wanted 1 with log-probabilities");
  ExpectRefused("spec { policy { ppo {} soft_cap: 2 input: LOG_PROBABILITIES } }", kInvalid,
                "policy.soft_cap is given; wanted none with log-probabilities");
  ExpectRefused("spec { policy { ppo {} entropy_bonus: 2 input: LOG_PROBABILITIES } }", kInvalid,
                "policy.entropy_bonus is given; wanted 0 with log-probabilities");
  ExpectRefused("spec { policy { ppo {} } }", kInvalid,
                "advantages is not set; wanted a tensor: the loss policy needs it");
  ExpectRefused("spec { policy { dro {} input: LOG_PROBABILITIES } }", kInvalid,
                "policy.dro.beta is not set; wanted a finite number > 0");
  ExpectRefused("spec { policy { ppo { ratio_cap: 1.2 } input: LOG_PROBABILITIES } }", kInvalid,
                "policy.ppo.ratio_cap is given; wanted a number > ratio_high");
  ExpectRefused("spec { preference { gamma: 1 } }", kInvalid,
                "preference.gamma is given; wanted none unless the variant is SIMPO");
  ExpectRefused("spec { distillation { mixture: 0.3 } }", kInvalid,
                "distillation.mixture is given; wanted none unless the divergence is "
                "JENSEN_SHANNON");
  ExpectAnswered("spec { kl_divergence { log_targets: true } }");
  ExpectRefused("spec { quantile { quantiles: [0.1, 0.9] } }", kInvalid,
                "quantile.quantiles is given; wanted one of them");
  const std::string values = "{ dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 1 1 1 1 1) }";
  ExpectRefused(absl::StrCat("spec { value {} } old_values ", values), kInvalid,
                "old_values is given; wanted none unless value.value_clip is set");
  ExpectRefused(absl::StrCat("spec { preference {} } reference_log_probabilities ", values),
                kInvalid,
                "second_reference_log_probabilities is not set; wanted a tensor, since "
                "reference_log_probabilities is given");
  ExpectRefused(absl::StrCat("spec { preference { variant: SIMPO } } reference_log_probabilities ",
                             values, " second_reference_log_probabilities ", values),
                kInvalid, "reference_log_probabilities is given; wanted none");
  ExpectRefused(absl::StrCat("spec { huber {} } second_predictions ", values), kInvalid,
                "second_predictions is given; wanted none: the loss huber does not take it");
  ExpectRefused("spec { huber {} outputs { second_gradient: true } }", kInvalid,
                "outputs.second_gradient is true; wanted false");
  ExpectRefused("spec { huber {} second_gradient_dtype: DTYPE_F32 }", kInvalid,
                "second_gradient_dtype is given; wanted none");
}

// Values that are looked at while the loss is computed.
TEST(TargetValues, AreThoseThatTheLossTakes) {
  const auto expect = [](const std::string& loss, const std::string& values, const char* words) {
    const std::string text = absl::StrCat(
        "spec { ", loss, " } target_values { dtype: DTYPE_F32 shape: [2, 3] data: $f32(", values,
        ") }");
    SCOPED_TRACE(text);
    const absl::Status status = Answer(FullRequest(text));
    EXPECT_EQ(status.code(), kInvalid);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  expect("hinge {}", "1 -1 1 0 1 1", "target_values[3] is 0; wanted -1 or 1");
  expect("hinge { targets: BINARY_TARGETS_ZERO_ONE }", "1 0 1 0 0.5 1",
         "target_values[4] is 0.5; wanted 0 or 1");
  expect("margin_ranking {}", "1 -1 1 nan 1 1", "target_values[3] is nan; wanted -1 or 1");
  expect("kto {}", "1 0 2 1 1 1", "target_values[2] is 2; wanted 0 or 1");
  ExpectAnswered(
      "spec { hinge {} ignore_labels: 0 } target_values { dtype: DTYPE_F32 shape: [2, 3] data: "
      "$f32(1 -1 0 0 1 1) }");
}

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
