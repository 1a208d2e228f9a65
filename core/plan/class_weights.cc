#include "core/plan/class_weights.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "lossd/shapes.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

using Shape = std::vector<int64_t>;

// One sample's shape: there is none of its own where it is [C], nor where no dimension is the
// batch.
std::optional<Shape> SampleShape(const Shape& predictions, const Geometry& geometry) {
  if (!geometry.batch_axis || predictions.size() <= 2) return std::nullopt;
  return Without(predictions, *geometry.batch_axis);
}

absl::Status RefuseWeightsShape(const Shape& weights, const Shape& predictions,
                                const Geometry& geometry) {
  std::string wanted = absl::StrCat("[", geometry.classes, "]");
  if (const std::optional<Shape> sample = SampleShape(predictions, geometry)) {
    absl::StrAppend(&wanted, ", one sample's shape ", ShapeString(*sample),
                    ", or the predictions' shape ", ShapeString(predictions));
  } else if (predictions.size() > 1) {
    absl::StrAppend(&wanted, " or the predictions' shape ", ShapeString(predictions));
  }
  return RefuseShape("class_weights.shape", weights, wanted);
}

}  // namespace

absl::StatusOr<ClassWeightsPlan> MakeClassWeightsPlan(const TensorDesc& weights,
                                                      WeightNormalization normalization,
                                                      const TensorDesc& predictions,
                                                      const Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(CheckFloating("class_weights.dtype", weights.dtype));
  ClassWeightsPlan plan;
  plan.dtype = weights.dtype;
  plan.normalization = normalization;
  if (weights.shape == Shape{geometry.classes}) {
    // The same weights at every position: one location, one sample.
  } else if (weights.shape == predictions.shape) {
    plan.outer = geometry.outer;
    plan.inner = geometry.inner;
    if (normalization == WeightNormalization::kGlobal && !geometry.batch) {
      return Refuse("weight_normalization", "GLOBAL",
                    absl::StrCat("LOCAL or NONE: class_weights have the predictions' shape and the "
                                 "class axis ",
                                 geometry.class_axis, " is the batch dimension"));
    }
    plan.samples = geometry.batch.value_or(1);
  } else if (weights.shape == SampleShape(predictions.shape, geometry)) {
    // The batch dimension varies slowest of all, so one sample is one stretch of `outer`.
    int64_t outer = 1;
    for (int i = 0; i < static_cast<int>(predictions.shape.size()); ++i) {
      const bool slower = predictions.layout == Layout::kRowMajor ? i < geometry.class_axis
                                                                  : i > geometry.class_axis;
      if (slower && i != *geometry.batch_axis) outer *= predictions.shape[i];
    }
    plan.outer = outer;
    plan.inner = geometry.inner;
  } else {
    return RefuseWeightsShape(weights.shape, predictions.shape, geometry);
  }
  LOSSD_RETURN_IF_ERROR(CheckLayout("class_weights.layout", weights, predictions));
  return plan;
}

}  // namespace lossd::plan
