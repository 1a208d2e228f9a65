#ifndef LOSSD_CORE_PLAN_LOSS_PLAN_H_
#define LOSSD_CORE_PLAN_LOSS_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/plan/groups.h"
#include "core/plan/sequences.h"
#include "lossd/loss_spec.h"

namespace lossd {

// How a class-weights tensor is indexed: the weight of class k at position (o, i) is element
// ((o % outer) * C + k) * inner + (inner == 1 ? 0 : i).
struct ClassWeightsPlan {
  DType dtype = DType::kF32;
  WeightNormalization normalization = WeightNormalization::kLocal;
  int64_t outer = 1;  // 1, outer extent of one sample, or that of the predictions
  int64_t inner = 1;  // 1 or the inner extent of the predictions
  // Sums under kGlobal: one for each of this many equal parts of `outer`. 0 where there is no
  // sample; the parts are empty, and have no sum, where there is no position for other reasons.
  int64_t samples = 1;
};

// A loss computation in which nothing can be wrong: everything about it that can be known without
// looking at the bytes of a tensor. Whoever holds a plan may index without checking.
class LossPlan {
 public:
  // All checking of options and shapes. kInvalidArgument names the field, its value and the wanted
  // range; kUnimplemented for what is legal but not built. Allocates nothing that grows with the
  // extents. Zero positions are a valid plan (loss 0, empty gradient).
  //
  // In the plan's spec class_axis is an index >= 0 into the shape as written, gradient_dtype is
  // set, weight_normalization is set exactly if there are class weights, and position_losses is on
  // with Reduction::kNone. Every size in bytes, of any part of a tensor, in any dtype, fits into
  // int64.
  static absl::StatusOr<LossPlan> Make(const LossSpec& spec, LossTensorDescs tensors);

  // The only shape words a kernel sees: predictions lie in memory as [outer][classes][inner].
  int64_t outer() const { return outer_; }
  int64_t classes() const { return classes_; }  // >= 1
  int64_t inner() const { return inner_; }
  // Places of a box, each with all its classes.
  int64_t positions() const { return outer_ * inner_; }

  // Whether every element of the predictions is a position of its own, for what has an element for
  // each position: side tensors, outputs, counts and D. Otherwise a place is.
  bool of_elements() const { return FactsOf(spec_.loss).family == Family::kElements; }
  // Set where a sequence of frames is a position.
  const std::optional<SequencesPlan>& sequences() const { return sequences_; }
  // Set where a class of a group of places is a position.
  const std::optional<GroupsPlan>& groups() const { return groups_; }
  int64_t counted_positions() const { return CountedIn(whole()); }
  // What labels and position weights have an element for: of groups, places.
  int64_t weighed_positions() const { return groups_ ? positions() : counted_positions(); }
  // Those of a box.
  int64_t CountedIn(const Box& box) const {
    if (sequences_) return sequences_->count;
    if (groups_) return groups_->count * classes_;
    return box.outer_count * box.inner_count * (of_elements() ? classes_ : 1);
  }
  // Whether the only box is the whole: a position depends on what lies anywhere.
  bool in_one_box() const { return IsInOneBox(spec_.loss); }

  // Defaults filled in; class_axis counts from the front.
  const LossSpec& spec() const { return spec_; }
  const LossTensorDescs& tensors() const { return tensors_; }
  const OutputSet& outputs() const { return spec_.outputs; }
  DType dtype() const { return tensors_.predictions.dtype; }
  DType gradient_dtype() const { return *spec_.gradient_dtype; }
  OutputDTypes output_dtypes() const { return OutputDTypesOf(spec_, tensors_); }
  // Of outputs per position: the shape of the labels as the caller wrote it; with probability
  // targets, that of the predictions without the class axis; of elements, that of the predictions.
  absl::Span<const int64_t> label_shape() const {
    return hard_targets() && !groups_ ? tensors_.targets.shape : positions_shape_;
  }
  // Whether the targets are one label for each position.
  bool hard_targets() const {
    return tensors_.target_kind == TargetKind::kClassIndices && !sequences_ && slots_ == 0;
  }
  // Whether they are a row of C numbers for each position.
  bool dense_targets() const {
    if (tensors_.target_kind == TargetKind::kClassIndices) return sparse_targets();
    return tensors_.target_kind != TargetKind::kNone && !one_target();
  }
  // Whether they are one number for each position.
  bool one_target() const {
    return tensors_.target_kind == TargetKind::kTargetValues &&
           FactsOf(spec_.loss).targets_per == Per::kPosition;
  }
  // Whether they are K labels for each position with a share of each.
  bool sparse_targets() const { return tensors_.sparse_probabilities.has_value(); }
  // Of rows of dense targets, as they are computed with.
  DType dense_dtype() const { return sparse_targets() ? DType::kF64 : tensors_.targets.dtype; }
  // K, where every position has several labels; otherwise 0.
  int64_t slots() const { return slots_; }
  // Whether a position's loss looks at one class only.
  bool one_class() const { return hard_targets() && spec_.label_smoothing == 0; }
  bool has_class_weights() const { return tensors_.class_weights.has_value(); }
  const ClassWeightsPlan& class_weights() const { return class_weights_; }

  // D where it is known without the targets (every reduction but VALID and WEIGHT_SUM, and GIVEN
  // with a denominator of 0, which only targets without any weight make sense of); may be 0 only
  // when there are no positions.
  std::optional<double> fixed_denominator() const { return fixed_denominator_; }
  // Whether the weight of the targets decides D.
  bool weighs_targets() const {
    return spec_.reduction == Reduction::kWeightSum ||
           (spec_.reduction == Reduction::kGiven && *spec_.denominator == 0);
  }

  bool targets_come_whole() const { return TargetsComeWhole(spec_, tensors_.target_kind); }

  // Whether a tensor of the request travels block by block; otherwise it is known whole before the
  // first block.
  bool IsInBlocks(const TensorFacts& tensor) const {
    return tensor.block_field != 0 && !(tensor.target_kind && targets_come_whole());
  }

  // Exact sizes of the tensors and of the outputs, in bytes; 0 for what is absent.
  int64_t predictions_bytes() const { return positions() * classes_ * SizeOf(dtype()); }
  Box whole() const { return {0, outer_, 0, inner_}; }
  struct BoxBytes : BlockTensors<int64_t>, Outputs<int64_t> {};
  BoxBytes BytesOf(const Box& box) const;

  // kInvalidArgument unless every box is inside the tensor and none is empty.
  absl::Status CheckBox(const Box& box) const;

 private:
  LossPlan() = default;

  LossSpec spec_;
  LossTensorDescs tensors_;
  int64_t outer_ = 0;
  int64_t classes_ = 0;
  int64_t inner_ = 0;
  ClassWeightsPlan class_weights_;
  std::optional<SequencesPlan> sequences_;
  std::optional<GroupsPlan> groups_;
  int64_t slots_ = 0;
  std::optional<double> fixed_denominator_;
  std::vector<int64_t> positions_shape_;  // unless it is the labels' own
};

}  // namespace lossd

#endif  // LOSSD_CORE_PLAN_LOSS_PLAN_H_
