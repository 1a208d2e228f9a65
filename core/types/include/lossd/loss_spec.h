#ifndef LOSSD_LOSS_SPEC_H_
#define LOSSD_LOSS_SPEC_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lossd/dtype.h"
#include "lossd/losses.h"
#include "lossd/outputs.h"
#include "lossd/tensor.h"
#include "lossd/tensors.h"

namespace lossd {

enum class WeightNormalization : int8_t { kLocal = 1, kGlobal = 2, kNone = 3 };

enum class Reduction : int8_t {
  kPositions = 1,
  kValid = 2,
  kWeightSum = 3,
  kBatch = 4,
  kSum = 5,
  kGiven = 6,
  kNone = 7,
};

enum class AllIgnoredPolicy : int8_t { kZero = 1, kNan = 2, kError = 3 };
enum class NonFinitePolicy : int8_t { kPropagate = 1, kError = 2 };

// What to compute; field by field lossd.v1.LossSpec, where every range is stated. A spec may be
// wrong in every field: LossPlan::Make is what checks it.
struct LossSpec {
  Loss loss = SoftmaxLoss{};
  std::optional<int> class_axis;  // default: row-major 1, column-major -2, rank 1: 0
  std::optional<WeightNormalization> weight_normalization;  // default kLocal
  std::vector<int64_t> ignore_labels;
  double label_smoothing = 0;
  double loss_weight = 1;  // L
  Reduction reduction = Reduction::kPositions;
  std::optional<double> denominator;  // with kGiven, and only then
  double gradient_scale = 1;
  std::optional<DType> gradient_dtype;         // default: dtype of the predictions
  std::optional<DType> second_gradient_dtype;  // default: dtype of the second predictions
  AllIgnoredPolicy all_ignored_policy = AllIgnoredPolicy::kZero;
  NonFinitePolicy non_finite_policy = NonFinitePolicy::kPropagate;
  OutputSet outputs;
};

// Whether targets of a kind must be known whole before the first gradient: class indices and target
// values of positions always, others where they decide D. Otherwise they travel block by block.
inline bool TargetsComeWhole(const LossSpec& spec, TargetKind kind) {
  const bool weighed = spec.reduction == Reduction::kWeightSum ||
                       (spec.reduction == Reduction::kGiven && spec.denominator == 0.0);
  switch (kind) {
    case TargetKind::kClassIndices:
      return true;
    case TargetKind::kClassProbabilities:
      return weighed;
    case TargetKind::kTargetValues:
      if (FactsOf(spec.loss).targets_per == Per::kPosition) return true;
      return !spec.ignore_labels.empty() && (weighed || spec.reduction == Reduction::kValid);
    case TargetKind::kNone:
      break;
  }
  return false;
}

// The dtypes of the outputs of a request.
inline OutputDTypes OutputDTypesOf(const LossSpec& spec, const LossTensorDescs& tensors) {
  const DType predictions = tensors.predictions.dtype;
  const DType second = tensors.second_predictions ? tensors.second_predictions->dtype : predictions;
  return {predictions, spec.gradient_dtype.value_or(predictions),
          spec.second_gradient_dtype.value_or(second)};
}

// Positions outer_begin .. +outer_count by inner_begin .. +inner_count of a tensor that lies in
// memory as [outer][C][inner], with all their classes.
struct Box {
  int64_t outer_begin = 0;
  int64_t outer_count = 0;
  int64_t inner_begin = 0;
  int64_t inner_count = 0;

  friend bool operator==(const Box&, const Box&) = default;
};

}  // namespace lossd

#endif  // LOSSD_LOSS_SPEC_H_
