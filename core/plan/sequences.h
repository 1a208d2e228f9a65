#ifndef LOSSD_CORE_PLAN_SEQUENCES_H_
#define LOSSD_CORE_PLAN_SEQUENCES_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/plan/geometry.h"
#include "lossd/loss_spec.h"

namespace lossd {

// Where the frames of a loss of Family::kSequences lie. The logit of class k of frame t of sequence
// n is element n * sequence_stride + t * frame_stride + k * class_stride, its label s of
// class_indices n * label_sequence_stride + s * label_stride.
struct SequencesPlan {
  int64_t count = 0;   // N
  int64_t frames = 0;  // T >= 1
  int64_t labels = 0;  // S
  int64_t sequence_stride = 0;
  int64_t frame_stride = 0;
  int64_t class_stride = 0;
  int64_t label_sequence_stride = 0;
  int64_t label_stride = 0;
};

namespace plan {

// Checks axes and the shapes of all tensors of the loss. Precondition: it has a time axis.
absl::StatusOr<SequencesPlan> MakeSequencesPlan(const LossSpec& spec,
                                                const LossTensorDescs& tensors,
                                                const Geometry& geometry);

// A tensor of whole numbers of shape [count], or of one dimension where `count` is not known.
absl::Status CheckLengths(const TensorFacts& row, const TensorDesc& tensor,
                          std::optional<int64_t> count);

}  // namespace plan
}  // namespace lossd

#endif  // LOSSD_CORE_PLAN_SEQUENCES_H_
