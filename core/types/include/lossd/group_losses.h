#ifndef LOSSD_GROUP_LOSSES_H_
#define LOSSD_GROUP_LOSSES_H_

#include <cstdint>
#include <string_view>
#include <tuple>

#include "absl/types/span.h"
#include "lossd/loss_rows.h"
#include "lossd/tensors.h"

// The losses of which a class of a group of places is a position. Formulas are in
// docs/semantics.md.

namespace lossd {

enum class Activation : int8_t { kSoftmax = 1, kSigmoid = 2, kNone = 3 };
template <>
struct Words<Activation> {
  static constexpr std::string_view kNames[] = {"SOFTMAX", "SIGMOID", "NONE"};
};

enum class Grouping : int8_t { kBatch = 1, kSample = 2 };
template <>
struct Words<Grouping> {
  static constexpr std::string_view kNames[] = {"BATCH", "SAMPLE"};
};

enum class AbsentClasses : int8_t { kCount = 1, kSkip = 2 };
template <>
struct Words<AbsentClasses> {
  static constexpr std::string_view kNames[] = {"COUNT", "SKIP"};
};

inline constexpr TensorRule kOverlapTensors[] = {
    {Role::kClassIndices, Presence::kOneOf},        {Role::kClassProbabilities, Presence::kOneOf},
    {Role::kClassWeights, Presence::kOptional},     {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional}, {Role::kPredictions, Presence::kRequired}};

// How predicted and true regions overlap: S. Salehi et al., MLMI 2017. The Dice loss with the
// defaults, the Jaccard loss with alpha and beta 1.
struct TverskyLoss {
  double alpha = 0.5;
  double beta = 0.5;
  double smooth_numerator = 0;
  double smooth_denominator = 0;
  double power = 1;
  Activation activation = Activation::kSoftmax;
  Grouping group = Grouping::kBatch;
  AbsentClasses absent_classes = AbsentClasses::kCount;
};
template <>
struct LossRow<TverskyLoss> {
  static constexpr int kNumber = 41;
  static constexpr std::string_view kName = "tversky";
  static constexpr Family kFamily = Family::kGroups;
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr absl::Span<const TensorRule> kTensors = kOverlapTensors;
  static constexpr bool kIgnores = true;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
  static constexpr std::tuple<> kNeeds = {};
  static constexpr std::tuple<> kTensorConflicts = {};
  static constexpr std::tuple<> kConflicts = {};
  static constexpr std::tuple kOptions = {
      MakeOption(1, "alpha", &TverskyLoss::alpha, Range::FiniteFromZero(),
                 "the weight of false positives"),
      MakeOption(2, "beta", &TverskyLoss::beta, Range::FiniteFromZero(),
                 "the weight of false negatives"),
      MakeOption(3, "smooth_numerator", &TverskyLoss::smooth_numerator, Range::FiniteFromZero(),
                 "is added to the true positives above the fraction bar"),
      MakeOption(4, "smooth_denominator", &TverskyLoss::smooth_denominator, Range::FiniteFromZero(),
                 "is added below the fraction bar"),
      MakeOption(5, "power", &TverskyLoss::power, Range::Positive(), "of one minus the score"),
      MakeOption(6, "activation", &TverskyLoss::activation,
                 "what turns predictions into probabilities"),
      MakeOption(7, "group", &TverskyLoss::group, "whose places are summed up"),
      MakeOption(8, "absent_classes", &TverskyLoss::absent_classes,
                 "whether a class without targets has a loss")};
};

}  // namespace lossd

#endif  // LOSSD_GROUP_LOSSES_H_
