#include "core/plan/sequences.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

// The elements between neighbours along an axis of a tensor as it lies in memory.
int64_t StrideOf(const TensorDesc& tensor, int axis) {
  const bool row_major = tensor.layout == Layout::kRowMajor;
  int64_t stride = 1;
  for (int i = 0; i < static_cast<int>(tensor.shape.size()); ++i) {
    if (row_major ? i > axis : i < axis) stride *= tensor.shape[i];
  }
  return stride;
}

absl::StatusOr<int> TimeAxis(const CtcLoss& loss, const TensorDesc& predictions, int class_axis) {
  const int rank = static_cast<int>(predictions.shape.size());
  const int64_t wanted = *loss.time_axis;
  const int64_t axis = wanted < 0 ? wanted + rank : wanted;
  if (axis >= 0 && axis < rank && axis != class_axis) return static_cast<int>(axis);
  return Refuse({"ctc", "time_axis"}, absl::StrCat(wanted),
                absl::StrCat("an axis of predictions.shape ", ShapeString(predictions.shape),
                             " other than the class axis ", class_axis));
}

absl::Status CheckBlank(const CtcLoss& loss, int64_t classes) {
  if (loss.blank < classes) return absl::OkStatus();
  return Refuse({"ctc", "blank"}, absl::StrCat(loss.blank),
                absl::StrCat("a class: 0..", classes - 1));
}

// One floating value for each sequence.
absl::Status CheckOfSequences(const TensorFacts& row, const TensorDesc& tensor, int64_t count) {
  LOSSD_RETURN_IF_ERROR(CheckFloating({row.name, "dtype"}, tensor.dtype));
  if (tensor.shape == std::vector<int64_t>{count}) return absl::OkStatus();
  return RefuseShape({row.name, "shape"}, tensor.shape,
                     absl::StrCat("[", count, "], one for each sequence"));
}

absl::Status CheckLabels(const TensorDesc& labels, int64_t count) {
  LOSSD_RETURN_IF_ERROR(CheckInteger({"class_indices", "dtype"}, labels.dtype));
  const bool fits = labels.shape.size() == 2 && labels.shape[0] == count && labels.shape[1] >= 0;
  // As if no extent were 0.
  if (fits && labels.shape[1] <= kMaxElements / std::max<int64_t>(count, 1)) {
    return absl::OkStatus();
  }
  return RefuseShape("class_indices.shape", labels.shape,
                     absl::StrCat("[", count, ", S]: the labels of each sequence"));
}

}  // namespace

absl::Status CheckLengths(const TensorFacts& row, const TensorDesc& tensor,
                          std::optional<int64_t> count) {
  LOSSD_RETURN_IF_ERROR(CheckInteger({row.name, "dtype"}, tensor.dtype));
  const auto& shape = tensor.shape;
  if (shape.size() == 1 &&
      shape[0] == count.value_or(std::clamp<int64_t>(shape[0], 0, kMaxElements))) {
    return absl::OkStatus();
  }
  return RefuseShape({row.name, "shape"}, shape,
                     count ? absl::StrCat("[", *count, "], one for each sequence")
                           : "one dimension: a length for each sequence");
}

absl::StatusOr<SequencesPlan> MakeSequencesPlan(const LossSpec& spec,
                                                const LossTensorDescs& tensors,
                                                const Geometry& geometry) {
  const auto& loss = std::get<CtcLoss>(spec.loss);
  const TensorDesc& predictions = tensors.predictions;
  const std::vector<int64_t>& shape = predictions.shape;
  if (shape.size() != 2 && shape.size() != 3) {
    return RefuseShape("predictions.shape", shape,
                       "rank 3, or rank 2 for one sequence, with the loss ctc");
  }
  if (!spec.class_axis) {
    return Refuse("class_axis", "not set", "the axis of the classes: the loss ctc has no default");
  }
  LOSSD_ASSIGN_OR_RETURN(const int time_axis, TimeAxis(loss, predictions, geometry.class_axis));
  LOSSD_RETURN_IF_ERROR(CheckBlank(loss, geometry.classes));
  SequencesPlan made;
  made.frames = shape[time_axis];
  if (made.frames == 0) {
    return RefuseShape("predictions.shape", shape, "at least one frame along the time axis");
  }
  made.count = 1;
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) {
    if (axis == time_axis || axis == geometry.class_axis) continue;
    made.count = shape[axis];
    made.sequence_stride = StrideOf(predictions, axis);
  }
  made.frame_stride = StrideOf(predictions, time_axis);
  made.class_stride = StrideOf(predictions, geometry.class_axis);

  const TensorDesc& labels = tensors.targets;
  LOSSD_RETURN_IF_ERROR(CheckLabels(labels, made.count));
  made.labels = labels.shape[1];
  made.label_sequence_stride = StrideOf(labels, 0);
  made.label_stride = StrideOf(labels, 1);
  LOSSD_RETURN_IF_ERROR(CheckTensors(tensors, [&](const TensorFacts& row, const TensorDesc& desc) {
    if (row.role == Role::kPredictions) return absl::OkStatus();
    LOSSD_RETURN_IF_ERROR(CheckLayout({row.name, "layout"}, desc, predictions));
    if (row.per == Per::kSequence) return CheckLengths(row, desc, made.count);
    if (row.per == Per::kPosition && !row.target_kind) {
      return CheckOfSequences(row, desc, made.count);
    }
    return absl::OkStatus();
  }));
  return made;
}

}  // namespace lossd::plan
