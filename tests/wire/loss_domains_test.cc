// The refusal table, continued: the domain of every option of a loss, from outside and from inside.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/wire/refusal.h"
#include "tests/wire/text_request.h"

namespace lossd::wire_test {
namespace {

using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

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
    {"margin_scale",
     "softmax { margin { scale: VALUE } }",
     "softmax.margin.scale",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"1", "64"}},
    {"margin_angular",
     "softmax { margin { angular: VALUE } }",
     "softmax.margin.angular",
     "an angle in [0, pi/2)",
     {"-5e-324", "1.6", "inf", "nan"},
     {"0", "0.5"}},
    {"margin_additive",
     "softmax { margin { additive: VALUE } }",
     "softmax.margin.additive",
     "a number in [0, 2)",
     {"-5e-324", "2", "inf", "nan"},
     {"0", "0.35"}},
    {"cosine_margin",
     "cosine_embedding { margin: VALUE } } target_values { dtype: DTYPE_F32 shape: 2 data: $f32(1 "
     "-1)",
     "cosine_embedding.margin",
     "a number in [-1, 1]",
     {"-1.5", "1.5", "inf", "nan"},
     {"-1", "0", "1"}},
    {"wasserstein_lambda",
     "wasserstein { lambda: VALUE } } ground_metric { dtype: DTYPE_F32 shape: [3, 3] data: $f32(0 "
     "1 2 1 0 1 2 1 0)",
     "wasserstein.lambda",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.5", "5"}},
    {"wasserstein_iterations",
     "wasserstein { lambda: 1 iterations: VALUE } } ground_metric { dtype: DTYPE_F32 shape: [3, 3] "
     "data: $f32(0 1 2 1 0 1 2 1 0)",
     "wasserstein.iterations",
     "1 to 1000",
     {"0", "1001", "-1"},
     {"1", "1000"}},
    {"ctc_blank",
     "ctc { time_axis: 0 blank: VALUE } class_axis: 1 } class_indices { dtype: DTYPE_I64 shape: "
     "[1, 1] data: $i64(1) }"
     " label_lengths { dtype: DTYPE_I64 shape: 1 data: $i64(1)",
     "ctc.blank",
     "a finite number >= 0",
     {"-1"},
     {"0", "2"}},
    {"tversky_alpha",
     "tversky { alpha: VALUE }",
     "tversky.alpha",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.7"}},
    {"tversky_beta",
     "tversky { beta: VALUE }",
     "tversky.beta",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.7"}},
    {"tversky_smooth_numerator",
     "tversky { smooth_numerator: VALUE }",
     "tversky.smooth_numerator",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.7"}},
    {"tversky_smooth_denominator",
     "tversky { smooth_denominator: VALUE }",
     "tversky.smooth_denominator",
     "a finite number >= 0",
     {"-5e-324", "inf", "nan"},
     {"0", "0.7"}},
    {"tversky_power",
     "tversky { power: VALUE }",
     "tversky.power",
     "a finite number > 0",
     {"0", "-1", "inf", "nan"},
     {"0.75", "2"}},
};

class LossDomains : public testing::TestWithParam<Domain> {};
TEST_P(LossDomains, EndWhereTheyShould) { ExpectDomain(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Refusals, LossDomains, testing::ValuesIn(kDomains),
                         [](const auto& info) { return info.param.name; });

// Those among the options of losses: LOSS.OPTION.
struct LossEnum {
  const char* loss;
  const char* option;
  const char* prefix;
  std::vector<const char*> names;
  const char* options = "";  // others that the loss needs
  const char* more = "";     // what else, behind the loss
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
    {"wasserstein",
     "gradient",
     "",
     {"CENTRED", "MOCHA", "POTENTIAL"},
     "lambda: 1",
     "} ground_metric { dtype: DTYPE_F32 shape: [3, 3] data: $f32(0 1 2 1 0 1 2 1 0) }"},
    {"ctc",
     "infeasible_policy",
     "",
     {"INFINITE", "ZERO", "ERROR"},
     "time_axis: 0",
     "class_axis: 1 } class_indices { dtype: DTYPE_I64 shape: [1, 1] data: $i64(1) }"
     " label_lengths { dtype: DTYPE_I64 shape: 1 data: $i64(1) }"},
    {"tversky", "activation", "", {"SOFTMAX", "SIGMOID", "NONE"}},
    {"tversky", "group", "", {"BATCH", "SAMPLE"}},
    {"tversky", "absent_classes", "", {"COUNT", "SKIP"}},
    {"preference",
     "variant",
     "",
     {"SIGMOID", "ROBUST", "IPO", "HINGE", "SPPO_HARD", "APO_ZERO", "APO_DOWN", "BCO_PAIR",
      "NCA_PAIR", "CPO", "SIMPO", "ORPO"}},
};

TEST(LossEnums, AreNamedValues) {
  for (const LossEnum& option : kLossEnums) {
    const auto with = [&](const std::string& value) {
      const bool is_open = *option.more != 0;
      return absl::StrCat("spec { ", option.loss, " { ", option.option, ": ", value, " ",
                          option.options, " } ", is_open ? option.more : "}");
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
  const std::string two = " { dtype: DTYPE_F32 shape: 2 data: $f32(1 1) }";
  ExpectRefused("spec { quantile { quantiles: [0.1, 0.9] } } target_values" + two, kInvalid,
                "quantile.quantiles has 2 values; wanted one, or 3, one for each class along the "
                "class axis 1");
  ExpectAnswered("spec { quantile { quantiles: [0.1, 0.5, 0.9] } } target_values" + two);
  ExpectRefused("spec { quantile { quantiles: [0.1, 0.5, 0.9] } }", kInvalid,
                "target_values.shape is [2,3]; wanted [2] or [2,1]");
  ExpectRefused(
      "spec { wasserstein {} } ground_metric { dtype: DTYPE_F32 shape: [3, 3]"
      " data: $f32(0 1 2 1 0 1 2 1 0) }",
      kInvalid, "wasserstein.lambda is not set; wanted a finite number > 0");
  ExpectRefused("spec { wasserstein { lambda: 1 } }", kInvalid,
                "ground_metric.shape is [2,3]; wanted [3,3]");
  ExpectRefused("spec { multi_label_margin {} }", kInvalid,
                "class_indices.shape is [2]; wanted [2,K] with K in 1..3");
  // Behind the end of a list anything may stand.
  ExpectAnswered(
      "spec { multi_label_margin {} }"
      " class_indices { dtype: DTYPE_I64 shape: [2, 2] data: $i64(2 0 -1 3) }");
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

// Values that are looked at before the loss is computed.
TEST(Content, NamesTheFirstBadValue) {
  const auto expect = [](const std::string& text, const char* words) {
    SCOPED_TRACE(text);
    const absl::Status status = Answer(FullRequest(text));
    EXPECT_EQ(status.code(), kInvalid);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  expect(
      "spec { cosine_embedding {} } target_values { dtype: DTYPE_F32 shape: 2 data: $f32(1 .5) }",
      "target_values[1] is 0.5; wanted -1 or 1");
  expect(
      "spec { wasserstein { lambda: 1 } } ground_metric { dtype: DTYPE_F32 shape: [3, 3]"
      " data: $f32(0 1 2 1 -1 1 2 1 0) }",
      "ground_metric[1,1] is -1; wanted a finite number >= 0");
  expect(
      "spec { multi_label_margin {} }"
      " class_indices { dtype: DTYPE_I64 shape: [2, 2] data: $i64(2 0 1 3) }",
      "class_indices[3] is 3; wanted a label in 0..2, or one < 0 where the list ends");
}

// And while the loss is computed.
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

}  // namespace
}  // namespace lossd::wire_test
