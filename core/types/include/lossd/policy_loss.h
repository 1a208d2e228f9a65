#ifndef LOSSD_POLICY_LOSS_H_
#define LOSSD_POLICY_LOSS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <variant>

#include "absl/types/span.h"
#include "lossd/loss_rows.h"
#include "lossd/tensors.h"

// The losses of reinforcement learning on tokens. Formulas are in docs/semantics.md.

namespace lossd {

struct ImportanceSampling {};
template <>
struct LossRow<ImportanceSampling> {
  static constexpr int kNumber = 1;  // its field in lossd.v1.PolicyLoss, likewise below
  static constexpr std::string_view kName = "importance_sampling";
  static constexpr std::tuple<> kOptions = {};
};

struct PpoObjective {
  double ratio_low = 0.8;
  double ratio_high = 1.2;
  std::optional<double> ratio_cap;
};
template <>
struct LossRow<PpoObjective> {
  static constexpr int kNumber = 2;
  static constexpr std::string_view kName = "ppo";
  static constexpr std::tuple kOptions = {
      MakeOption(1, "ratio_low", &PpoObjective::ratio_low, Range::FromZeroToOne(),
                 "the least ratio that counts where the advantage is < 0"),
      MakeOption(2, "ratio_high", &PpoObjective::ratio_high, Range::FromOne(),
                 "the largest ratio that counts where the advantage is > 0"),
      MakeOption(3, "ratio_cap", &PpoObjective::ratio_cap, Range::FromOne(),
                 "the largest where it is < 0 (dual clip)")};
};

struct CispoObjective {
  double ratio_low = 0;
  double ratio_high = 4;
};
template <>
struct LossRow<CispoObjective> {
  static constexpr int kNumber = 3;
  static constexpr std::string_view kName = "cispo";
  static constexpr std::tuple kOptions = {
      MakeOption(1, "ratio_low", &CispoObjective::ratio_low, Range::FromZeroToOne(),
                 "clamps the ratio from below"),
      MakeOption(2, "ratio_high", &CispoObjective::ratio_high, Range::FromOne(),
                 "clamps the ratio from above")};
};

struct DroObjective {
  std::optional<double> beta;  // required
};
template <>
struct LossRow<DroObjective> {
  static constexpr int kNumber = 4;
  static constexpr std::string_view kName = "dro";
  static constexpr std::tuple kOptions = {MakeOption(
      1, "beta", &DroObjective::beta, Range::Positive(), "how dear it is to leave the old policy")};
};

struct SapoObjective {
  double tau_positive = 1;
  double tau_negative = 1.05;
};
template <>
struct LossRow<SapoObjective> {
  static constexpr int kNumber = 5;
  static constexpr std::string_view kName = "sapo";
  static constexpr std::tuple kOptions = {
      MakeOption(1, "tau_positive", &SapoObjective::tau_positive, Range::Positive(),
                 "how steep the gate is where the advantage is > 0"),
      MakeOption(2, "tau_negative", &SapoObjective::tau_negative, Range::Positive(),
                 "and where it is < 0")};
};

enum class PolicyInput : int8_t { kLogits = 1, kLogProbabilities = 2 };
template <>
struct Words<PolicyInput> {
  static constexpr std::string_view kNames[] = {"LOGITS", "LOG_PROBABILITIES"};
};

enum class KlEstimator : int8_t {
  kK1 = 1,
  kK2 = 2,
  kK3 = 3,
  kK3Corrected = 4,
  kK3ValueK2Gradient = 5,
};
template <>
struct Words<KlEstimator> {
  static constexpr std::string_view kNames[] = {"K1", "K2", "K3", "K3_CORRECTED",
                                                "K3_VALUE_K2_GRADIENT"};
};

enum class RatioLevel : int8_t { kToken = 1, kSequence = 2 };
template <>
struct Words<RatioLevel> {
  static constexpr std::string_view kNames[] = {"TOKEN", "SEQUENCE"};
};

inline constexpr TensorRule kPolicyTensors[] = {
    {Role::kClassIndices, Presence::kRequired},
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kAdvantages, Presence::kRequired},
    {Role::kOldLogProbabilities, Presence::kOptional},
    {Role::kReferenceLogProbabilities, Presence::kByOption}};

inline constexpr TensorRule kTokenTensors[] = {
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kAdvantages, Presence::kRequired},
    {Role::kOldLogProbabilities, Presence::kOptional},
    {Role::kReferenceLogProbabilities, Presence::kByOption},
    {Role::kSequenceLengths, Presence::kOptional}};

struct PolicyLoss {
  std::variant<std::monostate, ImportanceSampling, PpoObjective, CispoObjective, DroObjective,
               SapoObjective>
      objective = {};
  PolicyInput input = PolicyInput::kLogits;
  RatioLevel ratio_level = RatioLevel::kToken;
  double kl_coefficient = 0;
  KlEstimator kl_estimator = KlEstimator::kK3;
  double temperature = 1;
  std::optional<double> soft_cap;
  double entropy_bonus = 0;

  bool of_logits() const { return input == PolicyInput::kLogits; }
  bool of_sequences() const { return ratio_level == RatioLevel::kSequence; }
};

// Of log-probabilities every element of the predictions is a token.
struct PolicyOfLogProbabilities {
  static constexpr int kNumber = 17;
  static constexpr std::string_view kName = "policy";
  static constexpr Family kFamily = Family::kElements;
  static constexpr Domain kPredictions = Domain::kLogProbabilities;
  static constexpr absl::Span<const TensorRule> kTensors = kTokenTensors;
  static constexpr bool kIgnores = false;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
};
template <>
struct LossRow<PolicyLoss> {
  using Otherwise = PolicyOfLogProbabilities;
  static bool IsOtherwise(const PolicyLoss& loss) { return !loss.of_logits(); }

  static constexpr int kNumber = 17;
  static constexpr std::string_view kName = "policy";
  static constexpr Family kFamily = Family::kSoftmax;
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr absl::Span<const TensorRule> kTensors = kPolicyTensors;
  static constexpr bool kIgnores = true;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
  static constexpr std::tuple kOptions = {
      MakeOneOf("objective", &PolicyLoss::objective, "what is made of ratio and advantage"),
      MakeOption(6, "input", &PolicyLoss::input, "what the predictions are"),
      MakeOption(7, "ratio_level", &PolicyLoss::ratio_level,
                 "whether a ratio is that of a token or of its sequence"),
      MakeOption(8, "kl_coefficient", &PolicyLoss::kl_coefficient, Range::FiniteFromZero(),
                 "of the divergence from the reference"),
      MakeOption(9, "kl_estimator", &PolicyLoss::kl_estimator, "how it is estimated"),
      MakeOption(10, "temperature", &PolicyLoss::temperature, Range::Positive(),
                 "divides the logits"),
      MakeOption(11, "soft_cap", &PolicyLoss::soft_cap, Range::Positive(),
                 "bounds the logits: cap tanh(x / cap)"),
      MakeOption(12, "entropy_bonus", &PolicyLoss::entropy_bonus, Range::FiniteFromZero(),
                 "times the entropy is subtracted")};
  static constexpr std::tuple kNeeds = {Need<PolicyLoss>{
      Role::kReferenceLogProbabilities, [](const PolicyLoss& l) { return l.kl_coefficient != 0; },
      "kl_coefficient is not 0"}};
  static constexpr std::tuple kTensorConflicts = {TensorConflict<PolicyLoss>{
      Role::kSequenceLengths, [](const PolicyLoss& l) { return !l.of_sequences(); },
      "none unless policy.ratio_level is SEQUENCE"}};
  static constexpr std::tuple kConflicts = {
      Conflict<PolicyLoss>{"ratio_level",
                           [](const PolicyLoss& l) { return l.of_sequences() && l.of_logits(); },
                           "TOKEN with logits", "SEQUENCE"},
      Conflict<PolicyLoss>{"ratio_level",
                           [](const PolicyLoss& l) {
                             return l.of_sequences() &&
                                    !std::holds_alternative<ImportanceSampling>(l.objective) &&
                                    !std::holds_alternative<PpoObjective>(l.objective);
                           },
                           "TOKEN unless the objective is importance_sampling or ppo", "SEQUENCE"},
      Conflict<PolicyLoss>{"temperature",
                           [](const PolicyLoss& l) { return !l.of_logits() && l.temperature != 1; },
                           "1 with log-probabilities"},
      Conflict<PolicyLoss>{"soft_cap",
                           [](const PolicyLoss& l) { return !l.of_logits() && l.soft_cap; },
                           "none with log-probabilities"},
      Conflict<PolicyLoss>{
          "entropy_bonus",
          [](const PolicyLoss& l) { return !l.of_logits() && l.entropy_bonus != 0; },
          "0 with log-probabilities"},
      Conflict<PolicyLoss>{"ppo.ratio_cap",
                           [](const PolicyLoss& l) {
                             const auto* const ppo = std::get_if<PpoObjective>(&l.objective);
                             return ppo != nullptr && ppo->ratio_cap &&
                                    *ppo->ratio_cap <= ppo->ratio_high;
                           },
                           "a number > ratio_high"},
      Conflict<PolicyLoss>{"dro.beta",
                           [](const PolicyLoss& l) {
                             const auto* const dro = std::get_if<DroObjective>(&l.objective);
                             return dro != nullptr && !dro->beta;
                           },
                           "a finite number > 0", "not set"}};
};

}  // namespace lossd

#endif  // LOSSD_POLICY_LOSS_H_
