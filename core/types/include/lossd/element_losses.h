#ifndef LOSSD_ELEMENT_LOSSES_H_
#define LOSSD_ELEMENT_LOSSES_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "lossd/loss_rows.h"
#include "lossd/tensors.h"

// The losses over elements, in which every element of the predictions is a position of its own: of
// each a struct with its options, and a row. Formulas are in docs/semantics.md.

namespace lossd {

// ------------------------------------------------------------------------- what they have in
// common

// What losses with one target an element take.
inline constexpr TensorRule kElementTensors[] = {{Role::kClassWeights, Presence::kOptional},
                                                 {Role::kPositionWeights, Presence::kOptional},
                                                 {Role::kUpstreamGradient, Presence::kOptional},
                                                 {Role::kPredictions, Presence::kRequired},
                                                 {Role::kTargetValues, Presence::kRequired}};

// And losses of two predictions without a target.
inline constexpr TensorRule kPairTensors[] = {{Role::kPositionWeights, Presence::kOptional},
                                              {Role::kUpstreamGradient, Presence::kOptional},
                                              {Role::kPredictions, Presence::kRequired},
                                              {Role::kSecondPredictions, Presence::kRequired}};

struct OverElements {
  static constexpr Family kFamily = Family::kElements;
  static constexpr Domain kPredictions = Domain::kNumbers;
  static constexpr absl::Span<const TensorRule> kTensors = kElementTensors;
  static constexpr bool kIgnores = false;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
  // Without an option of the type BinaryTargets, which then says it.
  static constexpr TargetRange kTargets = TargetRange::kAny;
  static constexpr std::tuple<> kOptions = {};
  static constexpr std::tuple<> kNeeds = {};
  static constexpr std::tuple<> kTensorConflicts = {};
  static constexpr std::tuple<> kConflicts = {};
};

// What binary targets are: 0 or 1, or -1 or 1.
enum class BinaryTargets : int8_t { kZeroOne = 1, kSigned = 2 };
template <>
struct Words<BinaryTargets> {
  static constexpr std::string_view kNames[] = {"ZERO_ONE", "SIGNED"};
};

// What second_predictions say of a spread.
enum class Spread : int8_t { kVariance = 1, kLogVariance = 2, kStandardDeviation = 3 };
template <>
struct Words<Spread> {
  static constexpr std::string_view kNames[] = {"VARIANCE", "LOG_VARIANCE", "STANDARD_DEVIATION"};
};

// ------------------------------------------------------------------------------- classification

enum class BinaryInput : int8_t { kLogits = 1, kProbabilities = 2 };
template <>
struct Words<BinaryInput> {
  static constexpr std::string_view kNames[] = {"LOGITS", "PROBABILITIES"};
};

inline constexpr TensorRule kWeighedElementTensors[] = {
    {Role::kClassWeights, Presence::kOptional},     {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional}, {Role::kPredictions, Presence::kRequired},
    {Role::kTargetValues, Presence::kRequired},     {Role::kPosWeight, Presence::kOptional}};

struct BinaryCrossEntropyLoss {
  BinaryInput input = BinaryInput::kLogits;
  double log_epsilon = 1e-20;
  BinaryTargets targets = BinaryTargets::kZeroOne;
};
template <>
struct LossRow<BinaryCrossEntropyLoss> : OverElements {
  static constexpr int kNumber = 18;
  static constexpr std::string_view kName = "binary_cross_entropy";
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr absl::Span<const TensorRule> kTensors = kWeighedElementTensors;
  static constexpr bool kIgnores = true;
  static constexpr bool kSmooths = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "input", &BinaryCrossEntropyLoss::input, "what the predictions are"),
      MakeOption(2, "log_epsilon", &BinaryCrossEntropyLoss::log_epsilon,
                 Range::FromZeroToBelowHalf(),
                 "of probabilities: clamps them, and 1 - them, from below"),
      MakeOption(3, "targets", &BinaryCrossEntropyLoss::targets, "what the targets are")};
};

struct SigmoidFocalLoss {
  double gamma = 2;
  std::optional<double> alpha;
  BinaryTargets targets = BinaryTargets::kZeroOne;
};
template <>
struct LossRow<SigmoidFocalLoss> : OverElements {
  static constexpr int kNumber = 19;
  static constexpr std::string_view kName = "sigmoid_focal";
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr bool kIgnores = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "gamma", &SigmoidFocalLoss::gamma, Range::FiniteFromZero(),
                 "how much easy elements are played down"),
      MakeOption(2, "alpha", &SigmoidFocalLoss::alpha, Range::FromZeroToOne(),
                 "the weight of targets of 1; 1 - this is that of 0"),
      MakeOption(3, "targets", &SigmoidFocalLoss::targets, "what the targets are")};
};

struct HingeLoss {
  double margin = 1;
  int32_t power = 1;
  BinaryTargets targets = BinaryTargets::kSigned;
};
template <>
struct LossRow<HingeLoss> : OverElements {
  static constexpr int kNumber = 20;
  static constexpr std::string_view kName = "hinge";
  static constexpr bool kIgnores = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "margin", &HingeLoss::margin, Range::Positive(),
                 "how far on the right side a prediction must be to cost nothing"),
      MakeOption(2, "power", &HingeLoss::power, Range::OneOrTwo(), "of what is missing: 1 or 2"),
      MakeOption(3, "targets", &HingeLoss::targets, "what the targets are")};
};

// ------------------------------------------------------------------------------------ regression

struct SquaredErrorLoss {};
template <>
struct LossRow<SquaredErrorLoss> : OverElements {
  static constexpr int kNumber = 21;
  static constexpr std::string_view kName = "squared_error";
};

struct AbsoluteErrorLoss {};
template <>
struct LossRow<AbsoluteErrorLoss> : OverElements {
  static constexpr int kNumber = 22;
  static constexpr std::string_view kName = "absolute_error";
};

struct SmoothL1Loss {
  double beta = 1;
};
template <>
struct LossRow<SmoothL1Loss> : OverElements {
  static constexpr int kNumber = 23;
  static constexpr std::string_view kName = "smooth_l1";
  static constexpr std::tuple kOptions = {MakeOption(1, "beta", &SmoothL1Loss::beta,
                                                     Range::FiniteFromZero(),
                                                     "errors below it are squared; 0: none is")};
};

struct HuberLoss {
  double delta = 1;
};
template <>
struct LossRow<HuberLoss> : OverElements {
  static constexpr int kNumber = 24;
  static constexpr std::string_view kName = "huber";
  static constexpr std::tuple kOptions = {
      MakeOption(1, "delta", &HuberLoss::delta, Range::Positive(), "errors up to it are squared")};
};

struct LogCoshLoss {};
template <>
struct LossRow<LogCoshLoss> : OverElements {
  static constexpr int kNumber = 25;
  static constexpr std::string_view kName = "log_cosh";
};

// What losses with one target for each position take.
inline constexpr TensorRule kPositionTargetTensors[] = {
    {Role::kClassWeights, Presence::kOptional},
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kTargetValues, Presence::kRequired}};

struct QuantileLoss {
  std::vector<double> quantiles;  // none: 0.5; several: one for each class

  bool several() const { return quantiles.size() > 1; }
};
// Of several quantiles a row of predictions has one target.
struct SeveralQuantiles {
  static constexpr int kNumber = 26;
  static constexpr std::string_view kName = "quantile";
  static constexpr Family kFamily = Family::kRows;
  static constexpr Domain kPredictions = Domain::kNumbers;
  static constexpr absl::Span<const TensorRule> kTensors = kPositionTargetTensors;
  static constexpr bool kIgnores = false;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
  static constexpr Per kTargetsPer = Per::kPosition;
};
template <>
struct LossRow<QuantileLoss> : OverElements {
  using Otherwise = SeveralQuantiles;
  static bool IsOtherwise(const QuantileLoss& loss) { return loss.several(); }

  static constexpr int kNumber = 26;
  static constexpr std::string_view kName = "quantile";
  static constexpr std::tuple kOptions = {MakeOption(1, "quantiles", &QuantileLoss::quantiles,
                                                     Range::BetweenZeroAndOne(),
                                                     "the quantile that is predicted, or one "
                                                     "for each class")};
};

struct PoissonNllLoss {
  bool log_input = true;
  bool full = false;
  double epsilon = 1e-8;
};
template <>
struct LossRow<PoissonNllLoss> : OverElements {
  static constexpr int kNumber = 27;
  static constexpr std::string_view kName = "poisson_nll";
  static constexpr std::tuple kOptions = {
      MakeOption(1, "log_input", &PoissonNllLoss::log_input,
                 "whether predictions are logarithms of rates"),
      MakeOption(2, "full", &PoissonNllLoss::full, "adds Stirling's term of the targets"),
      MakeOption(3, "epsilon", &PoissonNllLoss::epsilon, Range::FiniteFromZero(),
                 "is added to rates inside the logarithm")};
};

inline constexpr TensorRule kSpreadTargetTensors[] = {
    {Role::kClassWeights, Presence::kOptional},
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kTargetValues, Presence::kRequired},
    {Role::kSecondPredictions, Presence::kRequired}};

// second_predictions are the spread.
struct GaussianNllLoss {
  Spread spread = Spread::kVariance;
  double epsilon = 1e-6;
  bool full = false;
};
template <>
struct LossRow<GaussianNllLoss> : OverElements {
  static constexpr int kNumber = 28;
  static constexpr std::string_view kName = "gaussian_nll";
  static constexpr absl::Span<const TensorRule> kTensors = kSpreadTargetTensors;
  static constexpr bool kSecondGradient = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "spread", &GaussianNllLoss::spread, "what the second predictions are"),
      MakeOption(2, "epsilon", &GaussianNllLoss::epsilon, Range::Positive(),
                 "clamps variances from below"),
      MakeOption(3, "full", &GaussianNllLoss::full, "adds the constant log(2 pi) / 2")};
};

inline constexpr TensorRule kSpreadTensors[] = {{Role::kClassWeights, Presence::kOptional},
                                                {Role::kPositionWeights, Presence::kOptional},
                                                {Role::kUpstreamGradient, Presence::kOptional},
                                                {Role::kPredictions, Presence::kRequired},
                                                {Role::kSecondPredictions, Presence::kRequired}};

// To the standard normal distribution; second_predictions are the spread.
struct GaussianKlLoss {
  Spread spread = Spread::kStandardDeviation;
};
template <>
struct LossRow<GaussianKlLoss> : OverElements {
  static constexpr int kNumber = 29;
  static constexpr std::string_view kName = "gaussian_kl";
  static constexpr absl::Span<const TensorRule> kTensors = kSpreadTensors;
  static constexpr bool kSecondGradient = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "spread", &GaussianKlLoss::spread, "what the second predictions are")};
};

// ----------------------------------------------------------------------------------------- pairs

inline constexpr TensorRule kRankedTensors[] = {{Role::kPositionWeights, Presence::kOptional},
                                                {Role::kUpstreamGradient, Presence::kOptional},
                                                {Role::kPredictions, Presence::kRequired},
                                                {Role::kTargetValues, Presence::kRequired},
                                                {Role::kSecondPredictions, Presence::kRequired}};

// Targets are 1 where the first prediction should be the larger one, else -1.
struct MarginRankingLoss {
  double margin = 0;
};
template <>
struct LossRow<MarginRankingLoss> : OverElements {
  static constexpr int kNumber = 34;
  static constexpr std::string_view kName = "margin_ranking";
  static constexpr absl::Span<const TensorRule> kTensors = kRankedTensors;
  static constexpr TargetRange kTargets = TargetRange::kSigned;
  static constexpr bool kSecondGradient = true;
  static constexpr std::tuple kOptions = {MakeOption(1, "margin", &MarginRankingLoss::margin,
                                                     Range::Finite(),
                                                     "by how much one should be larger")};
};

// The predictions should be larger than the second ones.
struct PairwiseLogisticLoss {
  double margin = 0;
};
template <>
struct LossRow<PairwiseLogisticLoss> : OverElements {
  static constexpr int kNumber = 35;
  static constexpr std::string_view kName = "pairwise_logistic";
  static constexpr absl::Span<const TensorRule> kTensors = kPairTensors;
  static constexpr bool kSecondGradient = true;
  static constexpr std::tuple kOptions = {MakeOption(1, "margin", &PairwiseLogisticLoss::margin,
                                                     Range::Finite(),
                                                     "by how much one should be larger")};
};

// ------------------------------------------------------------------------------------ preference

enum class PreferenceVariant : int8_t {
  kSigmoid = 1,
  kRobust = 2,
  kIpo = 3,
  kHinge = 4,
  kSppoHard = 5,
  kApoZero = 6,
  kApoDown = 7,
  kBcoPair = 8,
  kNcaPair = 9,
  kCpo = 10,
  kSimpo = 11,
  kOrpo = 12,
};
template <>
struct Words<PreferenceVariant> {
  static constexpr std::string_view kNames[] = {"SIGMOID",   "ROBUST",   "IPO",      "HINGE",
                                                "SPPO_HARD", "APO_ZERO", "APO_DOWN", "BCO_PAIR",
                                                "NCA_PAIR",  "CPO",      "SIMPO",    "ORPO"};
};

inline constexpr TensorRule kPreferenceTensors[] = {
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kSecondPredictions, Presence::kRequired},
    {Role::kReferenceLogProbabilities, Presence::kTogether},
    {Role::kSecondReferenceLogProbabilities, Presence::kTogether}};

// Of pairs of sequences: predictions are the policy's log-probabilities of the chosen ones, the
// second ones those of the rejected.
struct PreferenceLoss {
  PreferenceVariant variant = PreferenceVariant::kSigmoid;
  double beta = 0.1;
  double label_smoothing = 0;
  std::optional<double> gamma;

  bool has_reference() const { return variant < PreferenceVariant::kCpo; }
};
template <>
struct LossRow<PreferenceLoss> : OverElements {
  static constexpr int kNumber = 36;
  static constexpr std::string_view kName = "preference";
  static constexpr Domain kPredictions = Domain::kLogProbabilities;
  static constexpr absl::Span<const TensorRule> kTensors = kPreferenceTensors;
  static constexpr bool kSecondGradient = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "variant", &PreferenceLoss::variant, "which function of the two margins"),
      MakeOption(2, "beta", &PreferenceLoss::beta, Range::Positive(), "scales the margins"),
      MakeOption(3, "label_smoothing", &PreferenceLoss::label_smoothing, Range::FromZeroToHalf(),
                 "share of pairs that are taken to be the wrong way round"),
      MakeOption(4, "gamma", &PreferenceLoss::gamma, Range::FiniteFromZero(),
                 "of SIMPO: the margin that is wanted; 0.5 where it is left out")};
  static constexpr std::tuple kTensorConflicts = {TensorConflict<PreferenceLoss>{
      Role::kReferenceLogProbabilities, [](const PreferenceLoss& l) { return !l.has_reference(); },
      "none with the variants CPO, SIMPO and ORPO"}};
  static constexpr std::tuple kConflicts = {
      Conflict<PreferenceLoss>{"label_smoothing",
                               [](const PreferenceLoss& l) {
                                 return l.label_smoothing != 0 &&
                                        l.variant != PreferenceVariant::kSigmoid &&
                                        l.variant != PreferenceVariant::kRobust;
                               },
                               "0 unless the variant is SIGMOID or ROBUST"},
      Conflict<PreferenceLoss>{"label_smoothing",
                               [](const PreferenceLoss& l) {
                                 return l.variant == PreferenceVariant::kRobust &&
                                        l.label_smoothing == 0.5;
                               },
                               "a number in [0, 0.5) with the variant ROBUST"},
      Conflict<PreferenceLoss>{
          "gamma",
          [](const PreferenceLoss& l) { return l.gamma && l.variant != PreferenceVariant::kSimpo; },
          "none unless the variant is SIMPO"}};
};

inline constexpr TensorRule kKtoTensors[] = {
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kTargetValues, Presence::kRequired},
    {Role::kReferenceLogProbabilities, Presence::kRequired}};

// Of single sequences: targets are 1 for desirable ones, else 0.
struct KtoLoss {
  double beta = 0.1;
  double reference_kl = 0;
  double desirable_weight = 1;
  double undesirable_weight = 1;
};
template <>
struct LossRow<KtoLoss> : OverElements {
  static constexpr int kNumber = 37;
  static constexpr std::string_view kName = "kto";
  static constexpr Domain kPredictions = Domain::kLogProbabilities;
  static constexpr absl::Span<const TensorRule> kTensors = kKtoTensors;
  static constexpr TargetRange kTargets = TargetRange::kZeroOne;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "beta", &KtoLoss::beta, Range::Positive(), "scales the margins"),
      MakeOption(2, "reference_kl", &KtoLoss::reference_kl, Range::FiniteFromZero(),
                 "the divergence from the reference that margins are counted from"),
      MakeOption(3, "desirable_weight", &KtoLoss::desirable_weight, Range::FiniteFromZero(),
                 "of targets of 1"),
      MakeOption(4, "undesirable_weight", &KtoLoss::undesirable_weight, Range::FiniteFromZero(),
                 "of targets of 0")};
};

inline constexpr TensorRule kValueTensors[] = {{Role::kPositionWeights, Presence::kOptional},
                                               {Role::kUpstreamGradient, Presence::kOptional},
                                               {Role::kPredictions, Presence::kRequired},
                                               {Role::kTargetValues, Presence::kRequired},
                                               {Role::kOldValues, Presence::kByOption}};

// Of a critic: targets are returns.
struct ValueLoss {
  std::optional<double> value_clip;
};
template <>
struct LossRow<ValueLoss> : OverElements {
  static constexpr int kNumber = 38;
  static constexpr std::string_view kName = "value";
  static constexpr absl::Span<const TensorRule> kTensors = kValueTensors;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "value_clip", &ValueLoss::value_clip, Range::FiniteFromZero(),
                 "how far values may move away from the old ones")};
  static constexpr std::tuple kNeeds = {
      Need<ValueLoss>{Role::kOldValues, [](const ValueLoss& l) { return l.value_clip.has_value(); },
                      "value_clip is set"}};
};

}  // namespace lossd

#endif  // LOSSD_ELEMENT_LOSSES_H_
