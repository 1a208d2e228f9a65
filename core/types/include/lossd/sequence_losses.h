#ifndef LOSSD_SEQUENCE_LOSSES_H_
#define LOSSD_SEQUENCE_LOSSES_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>

#include "absl/types/span.h"
#include "lossd/loss_rows.h"
#include "lossd/tensors.h"

// The losses of which a sequence of frames is a position. Formulas are in docs/semantics.md.

namespace lossd {

enum class InfeasiblePolicy : int8_t { kInfinite = 1, kZero = 2, kError = 3 };
template <>
struct Words<InfeasiblePolicy> {
  static constexpr std::string_view kNames[] = {"INFINITE", "ZERO", "ERROR"};
};

inline constexpr TensorRule kLabelSequenceTensors[] = {
    {Role::kClassIndices, Presence::kRequired},     {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional}, {Role::kPredictions, Presence::kRequired},
    {Role::kLabelLengths, Presence::kRequired},     {Role::kInputLengths, Presence::kOptional}};

// Connectionist temporal classification: A. Graves et al., ICML 2006. Predictions are the logits of
// frames; a sequence is a position.
struct CtcLoss {
  std::optional<int32_t> time_axis;  // required
  int32_t blank = 0;
  InfeasiblePolicy infeasible_policy = InfeasiblePolicy::kInfinite;
};
template <>
struct LossRow<CtcLoss> {
  static constexpr int kNumber = 39;
  static constexpr std::string_view kName = "ctc";
  static constexpr Family kFamily = Family::kSequences;
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr absl::Span<const TensorRule> kTensors = kLabelSequenceTensors;
  static constexpr bool kIgnores = false;
  static constexpr bool kSmooths = false;
  static constexpr bool kSecondGradient = false;
  static constexpr std::tuple<> kNeeds = {};
  static constexpr std::tuple<> kTensorConflicts = {};
  static constexpr std::tuple kOptions = {
      MakeOption(1, "time_axis", &CtcLoss::time_axis, Range::Finite(),
                 "the axis of the frames; required, and so is the class axis"),
      MakeOption(2, "blank", &CtcLoss::blank, Range::FiniteFromZero(),
                 "the class that is no label"),
      MakeOption(3, "infeasible_policy", &CtcLoss::infeasible_policy,
                 "of labels that the frames cannot spell")};
  static constexpr std::tuple kConflicts = {
      Conflict<CtcLoss>{"time_axis", [](const CtcLoss& l) { return !l.time_axis; },
                        "the axis of the frames", "not set"}};
};

}  // namespace lossd

#endif  // LOSSD_SEQUENCE_LOSSES_H_
