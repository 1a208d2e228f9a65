#include "core/plan/groups.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "lossd/shapes.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

absl::Status CheckUpstream(const TensorDesc& upstream, const TensorDesc& predictions,
                           const std::vector<int64_t>& shape) {
  constexpr std::string_view kName = "upstream_gradient";
  LOSSD_RETURN_IF_ERROR(CheckFloating({kName, "dtype"}, upstream.dtype));
  LOSSD_RETURN_IF_ERROR(CheckLayout({kName, "layout"}, upstream, predictions));
  if (upstream.shape == shape) return absl::OkStatus();
  return RefuseShape({kName, "shape"}, upstream.shape,
                     absl::StrCat(ShapeString(shape), ", one for each class of a group"));
}

}  // namespace

absl::StatusOr<GroupsPlan> MakeGroupsPlan(const LossSpec& spec, const LossTensorDescs& tensors,
                                          const Geometry& geometry) {
  const auto& loss = std::get<TverskyLoss>(spec.loss);
  const std::vector<int64_t>& shape = tensors.predictions.shape;
  if (geometry.outer == 0 || geometry.inner == 0) {
    return RefuseShape("predictions.shape", shape, "at least one place with the loss tversky");
  }
  const auto positions = GroupedShape(spec.loss, tensors.predictions, geometry.class_axis);
  if (!positions) {
    return Refuse(
        {"tversky", "group"}, "SAMPLE",
        absl::StrCat("BATCH: the class axis ", geometry.class_axis, " is the batch dimension"));
  }
  GroupsPlan made;
  made.shape = *positions;
  if (loss.group == Grouping::kSample) made.count = *geometry.batch;
  made.outer = geometry.outer / made.count;
  if (tensors.class_weights &&
      tensors.class_weights->shape != std::vector<int64_t>{geometry.classes}) {
    return RefuseShape("class_weights.shape", tensors.class_weights->shape,
                       absl::StrCat("[", geometry.classes, "] with the loss tversky"));
  }
  if (tensors.upstream_gradient) {
    LOSSD_RETURN_IF_ERROR(
        CheckUpstream(*tensors.upstream_gradient, tensors.predictions, made.shape));
  }
  return made;
}

}  // namespace lossd::plan
