#ifndef LOSSD_ROW_LOSSES_H_
#define LOSSD_ROW_LOSSES_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

#include "absl/types/span.h"
#include "lossd/element_losses.h"
#include "lossd/loss_rows.h"
#include "lossd/tensors.h"

// The losses of whole rows that are neither of one class nor of a softmax alone. Formulas are in
// docs/semantics.md.

namespace lossd {

struct OverRows {
  static constexpr Family kFamily = Family::kRows;
  static constexpr bool kIgnores = false;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
  static constexpr TargetRange kTargets = TargetRange::kAny;
  static constexpr std::tuple<> kOptions = {};
  static constexpr std::tuple<> kNeeds = {};
  static constexpr std::tuple<> kTensorConflicts = {};
  static constexpr std::tuple<> kConflicts = {};
};

enum class Divergence : int8_t { kForwardKl = 1, kReverseKl = 2, kJensenShannon = 3 };
template <>
struct Words<Divergence> {
  static constexpr std::string_view kNames[] = {"FORWARD_KL", "REVERSE_KL", "JENSEN_SHANNON"};
};

inline constexpr TensorRule kTeacherTensors[] = {{Role::kPositionWeights, Presence::kOptional},
                                                 {Role::kUpstreamGradient, Presence::kOptional},
                                                 {Role::kPredictions, Presence::kRequired},
                                                 {Role::kSecondPredictions, Presence::kRequired}};

// Predictions are a student's logits, second_predictions the teacher's, which have no gradient.
struct DistillationLoss {
  Divergence divergence = Divergence::kForwardKl;
  std::optional<double> mixture;
  double temperature = 1;
  bool temperature_squared = false;
};
template <>
struct LossRow<DistillationLoss> : OverRows {
  static constexpr int kNumber = 16;
  static constexpr std::string_view kName = "distillation";
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr absl::Span<const TensorRule> kTensors = kTeacherTensors;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "divergence", &DistillationLoss::divergence, "of teacher and student"),
      MakeOption(2, "mixture", &DistillationLoss::mixture, Range::BetweenZeroAndOne(),
                 "of JENSEN_SHANNON: the teacher's share; 0.5 where it is left out"),
      MakeOption(3, "temperature", &DistillationLoss::temperature, Range::Positive(),
                 "divides all logits"),
      MakeOption(4, "temperature_squared", &DistillationLoss::temperature_squared,
                 "multiplies the loss by the temperature's square")};
  static constexpr std::tuple kConflicts = {
      Conflict<DistillationLoss>{"mixture",
                                 [](const DistillationLoss& l) {
                                   return l.mixture && l.divergence != Divergence::kJensenShannon;
                                 },
                                 "none unless the divergence is JENSEN_SHANNON"}};
};

struct KlDivergenceLoss {
  bool log_targets = false;
};
template <>
struct LossRow<KlDivergenceLoss> : OverRows {
  static constexpr int kNumber = 30;
  static constexpr std::string_view kName = "kl_divergence";
  static constexpr Domain kPredictions = Domain::kLogProbabilities;
  static constexpr absl::Span<const TensorRule> kTensors = kElementTensors;
  static constexpr TargetRange kTargets = TargetRange::kZeroOne;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "log_targets", &KlDivergenceLoss::log_targets,
                 "whether targets are logarithms of probabilities")};
};

enum class MarginAggregate : int8_t { kSum = 1, kMax = 2 };
template <>
struct Words<MarginAggregate> {
  static constexpr std::string_view kNames[] = {"SUM", "MAX"};
};

inline constexpr TensorRule kLabelTensors[] = {{Role::kClassIndices, Presence::kRequired},
                                               {Role::kClassWeights, Presence::kOptional},
                                               {Role::kPositionWeights, Presence::kOptional},
                                               {Role::kUpstreamGradient, Presence::kOptional},
                                               {Role::kPredictions, Presence::kRequired}};

struct MultiMarginLoss {
  double margin = 1;
  int32_t power = 1;
  MarginAggregate aggregate = MarginAggregate::kSum;
};
template <>
struct LossRow<MultiMarginLoss> : OverRows {
  static constexpr int kNumber = 31;
  static constexpr std::string_view kName = "multi_margin";
  static constexpr Domain kPredictions = Domain::kNumbers;
  static constexpr absl::Span<const TensorRule> kTensors = kLabelTensors;
  static constexpr bool kIgnores = true;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "margin", &MultiMarginLoss::margin, Range::Positive(),
                 "by how much the label's prediction should be the largest"),
      MakeOption(2, "power", &MultiMarginLoss::power, Range::OneOrTwo(),
                 "of what is missing: 1 or 2"),
      MakeOption(3, "aggregate", &MultiMarginLoss::aggregate,
                 "the sum over the classes, divided by C, or the largest")};
};

inline constexpr TensorRule kLabelListTensors[] = {{Role::kClassIndices, Presence::kRequired},
                                                   {Role::kPositionWeights, Presence::kOptional},
                                                   {Role::kUpstreamGradient, Presence::kOptional},
                                                   {Role::kPredictions, Presence::kRequired}};

// Each position has a list of labels, which ends before the first that is < 0.
struct MultiLabelMarginLoss {};
template <>
struct LossRow<MultiLabelMarginLoss> : OverRows {
  static constexpr int kNumber = 32;
  static constexpr std::string_view kName = "multi_label_margin";
  static constexpr Domain kPredictions = Domain::kNumbers;
  static constexpr absl::Span<const TensorRule> kTensors = kLabelListTensors;
  static constexpr bool kLabelLists = true;
};

inline constexpr TensorRule kVectorPairTensors[] = {
    {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional},
    {Role::kPredictions, Presence::kRequired},
    {Role::kTargetValues, Presence::kRequired},
    {Role::kSecondPredictions, Presence::kRequired}};

// Predictions and second_predictions are vectors along the class axis; the target of a position
// says whether they should be alike, 1, or not, -1.
struct CosineEmbeddingLoss {
  double margin = 0;
};
template <>
struct LossRow<CosineEmbeddingLoss> : OverRows {
  static constexpr int kNumber = 33;
  static constexpr std::string_view kName = "cosine_embedding";
  static constexpr Domain kPredictions = Domain::kNumbers;
  static constexpr absl::Span<const TensorRule> kTensors = kVectorPairTensors;
  static constexpr bool kSecondGradient = true;
  static constexpr TargetRange kTargets = TargetRange::kSigned;
  static constexpr Per kTargetsPer = Per::kPosition;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "margin", &CosineEmbeddingLoss::margin, Range::FromMinusOneToOne(),
                 "the cosine that vectors with target -1 may have")};
};

enum class PotentialGradient : int8_t { kCentred = 1, kMocha = 2, kPotential = 3 };
template <>
struct Words<PotentialGradient> {
  static constexpr std::string_view kNames[] = {"CENTRED", "MOCHA", "POTENTIAL"};
};

inline constexpr TensorRule kTransportTensors[] = {{Role::kClassProbabilities, Presence::kRequired},
                                                   {Role::kPositionWeights, Presence::kOptional},
                                                   {Role::kUpstreamGradient, Presence::kOptional},
                                                   {Role::kPredictions, Presence::kRequired},
                                                   {Role::kGroundMetric, Presence::kRequired}};

// The cost of moving the predicted probabilities to the targets, by Sinkhorn's algorithm:
// M. Cuturi, NeurIPS 2013.
struct WassersteinLoss {
  std::optional<double> lambda;  // required
  int32_t iterations = 50;
  PotentialGradient gradient = PotentialGradient::kCentred;
};
template <>
struct LossRow<WassersteinLoss> : OverRows {
  static constexpr int kNumber = 42;
  static constexpr std::string_view kName = "wasserstein";
  static constexpr Domain kPredictions = Domain::kProbabilities;
  static constexpr absl::Span<const TensorRule> kTensors = kTransportTensors;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "lambda", &WassersteinLoss::lambda, Range::Positive(),
                 "how sharp the plan is; required"),
      MakeOption(2, "iterations", &WassersteinLoss::iterations, Range::OneToThousand(),
                 "of Sinkhorn's algorithm"),
      MakeOption(3, "gradient", &WassersteinLoss::gradient, "which of the potentials it is")};
  static constexpr std::tuple kConflicts = {
      Conflict<WassersteinLoss>{"lambda", [](const WassersteinLoss& l) { return !l.lambda; },
                                "a finite number > 0", "not set"}};
};

}  // namespace lossd

#endif  // LOSSD_ROW_LOSSES_H_
