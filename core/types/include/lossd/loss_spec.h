#ifndef LOSSD_LOSS_SPEC_H_
#define LOSSD_LOSS_SPEC_H_

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "lossd/tensor.h"

namespace lossd {

// The losses; formulas in docs/semantics.md. Field by field the messages of lossd.v1, where every
// range is stated. A spec may be wrong in every field: LossPlan::Make is what checks it.
struct SoftmaxLoss {
  double log_floor = 0;  // [0, 1); 0: the loss is never clamped
};
struct MultinomialLogisticLoss {
  double log_epsilon = 1e-20;  // [0, 1)
};
struct NllLoss {};
using Loss = std::variant<SoftmaxLoss, MultinomialLogisticLoss, NllLoss>;

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

// What is computed beside the loss and the counts.
struct OutputSet {
  bool gradient = true;
  bool position_losses = false;  // f64: L * q_i * l_i, before D. Always on with Reduction::kNone.
  bool log_sum_exp = false;      // f64, softmax loss only
  bool argmax_hits = false;      // u8
  bool probabilities = false;    // dtype of the predictions, softmax loss only

  friend bool operator==(const OutputSet&, const OutputSet&) = default;
};

struct LossSpec {
  Loss loss = SoftmaxLoss{};
  std::optional<int> class_axis;  // default: row-major 1, column-major -2, rank 1: 0
  std::optional<WeightNormalization> weight_normalization;  // default kLocal; needs class weights
  std::vector<int64_t> ignore_labels;
  double label_smoothing = 0;
  double loss_weight = 1;  // L
  Reduction reduction = Reduction::kPositions;
  std::optional<double> denominator;  // with kGiven, and only then
  double gradient_scale = 1;
  std::optional<DType> gradient_dtype;  // default: dtype of the predictions
  AllIgnoredPolicy all_ignored_policy = AllIgnoredPolicy::kZero;
  NonFinitePolicy non_finite_policy = NonFinitePolicy::kPropagate;
  OutputSet outputs;
};

enum class TargetKind : int8_t {
  kClassIndices,        // shape of the predictions with the class axis 1 or removed
  kClassProbabilities,  // shape of the predictions
};

// The tensors of one request, by type T (a description or a view).
template <class T>
struct LossTensors {
  T predictions;
  TargetKind target_kind = TargetKind::kClassIndices;
  T targets;
  std::optional<T> class_weights;
  std::optional<T> position_weights;
  std::optional<T> upstream_gradient;
};
using LossTensorDescs = LossTensors<TensorDesc>;
using LossInputs = LossTensors<TensorView>;

// Where outputs go: contiguous, in the element order of the predictions, exactly as large as the
// output; empty for an output that is not wanted. `gradient` may be the very memory of the
// predictions (in place); any other overlap may not occur.
struct LossOutputs {
  MutableByteSpan gradient = {};         // shape of the predictions, gradient dtype
  MutableByteSpan position_losses = {};  // f64, shape of the labels
  MutableByteSpan log_sum_exp = {};      // f64, shape of the labels
  MutableByteSpan argmax_hits = {};      // u8, shape of the labels
  MutableByteSpan probabilities = {};    // shape and dtype of the predictions
};

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
