#include "core/plan/geometry.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/plan/checks.h"
#include "lossd/shapes.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

absl::Status CheckLayoutKnown(const Field& field, Layout layout) {
  return CheckEnum(field, static_cast<int>(layout), 2, "ROW_MAJOR or COLUMN_MAJOR");
}

std::string LayoutName(Layout layout) {
  return layout == Layout::kRowMajor ? "ROW_MAJOR" : "COLUMN_MAJOR";
}

absl::Status CheckPredictionShape(const std::vector<int64_t>& shape) {
  constexpr std::string_view kField = "predictions.shape";
  if (shape.empty() || shape.size() > kMaxRank) {
    return RefuseShape(kField, shape, absl::StrCat("rank 1 to ", kMaxRank));
  }
  int64_t elements = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) return RefuseShape(kField, shape, "extents >= 0");
    // An empty dimension counts as 1: it must not hide an overflow among the others, whose products
    // are formed without it.
    if (__builtin_mul_overflow(elements, std::max<int64_t>(extent, 1), &elements) ||
        elements > kMaxElements) {
      return RefuseShape(
          kField, shape,
          absl::StrCat("at most ", kMaxElements, " elements, extents of 0 left out"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int> ResolveClassAxis(std::optional<int> class_axis, const TensorDesc& predictions) {
  if (const std::optional<int> axis = ClassAxis(class_axis, predictions)) return *axis;
  const int rank = static_cast<int>(predictions.shape.size());
  return Refuse("class_axis", absl::StrCat(*class_axis),
                absl::StrCat(-rank, "..", rank - 1, ", since predictions.shape is ",
                             ShapeString(predictions.shape)));
}

}  // namespace

absl::StatusOr<Geometry> MakeGeometry(const TensorDesc& predictions,
                                      std::optional<int> class_axis) {
  LOSSD_RETURN_IF_ERROR(CheckFloating("predictions.dtype", predictions.dtype));
  LOSSD_RETURN_IF_ERROR(CheckLayoutKnown("predictions.layout", predictions.layout));
  const std::vector<int64_t>& shape = predictions.shape;
  LOSSD_RETURN_IF_ERROR(CheckPredictionShape(shape));

  Geometry geometry;
  LOSSD_ASSIGN_OR_RETURN(geometry.class_axis, ResolveClassAxis(class_axis, predictions));
  const int axis = geometry.class_axis;
  geometry.classes = shape[axis];
  if (geometry.classes == 0) {
    return RefuseShape("predictions.shape", shape,
                       absl::StrCat("at least one class along the class axis ", axis));
  }
  if (geometry.classes > kMaxClasses) {
    return RefuseShape(
        "predictions.shape", shape,
        absl::StrCat("at most ", kMaxClasses, " classes along the class axis ", axis));
  }
  const Extents extents = ExtentsOf(predictions, axis);
  geometry.outer = extents.outer;
  geometry.inner = extents.inner;

  const int batch_axis = BatchAxis(predictions);
  if (shape.size() == 1) {
    geometry.batch = 1;
  } else if (batch_axis != axis) {
    geometry.batch_axis = batch_axis;
    geometry.batch = shape[batch_axis];
  }
  return geometry;
}

absl::Status CheckLayout(const Field& field, const TensorDesc& tensor,
                         const TensorDesc& predictions) {
  LOSSD_RETURN_IF_ERROR(CheckLayoutKnown(field, tensor.layout));
  if (tensor.layout == predictions.layout) return absl::OkStatus();
  const auto longer_than_one = [](int64_t extent) { return extent > 1; };
  const bool empty = std::count(tensor.shape.begin(), tensor.shape.end(), 0) > 0;
  if (empty || std::count_if(tensor.shape.begin(), tensor.shape.end(), longer_than_one) <= 1) {
    return absl::OkStatus();
  }
  return Refuse(field, LayoutName(tensor.layout),
                absl::StrCat(LayoutName(predictions.layout), ", the predictions' layout"));
}

absl::Status CheckSameShape(const Field& field, const TensorDesc& tensor,
                            const TensorDesc& predictions) {
  if (tensor.shape == predictions.shape) return absl::OkStatus();
  return RefuseShape(field, tensor.shape,
                     absl::StrCat("the predictions' shape ", ShapeString(predictions.shape)));
}

absl::Status CheckLabelShape(const Field& field, const TensorDesc& tensor,
                             const TensorDesc& predictions, const Geometry& geometry) {
  const int axis = geometry.class_axis;
  if (IsLabelShape(tensor.shape, predictions.shape, axis)) return absl::OkStatus();
  const std::vector<int64_t> removed = Without(predictions.shape, axis);
  std::vector<int64_t> one = predictions.shape;
  one[axis] = 1;
  return RefuseShape(
      field, tensor.shape,
      absl::StrCat(ShapeString(removed), " or ", ShapeString(one), ": the predictions' shape ",
                   ShapeString(predictions.shape), " with the class axis ", axis, " removed or 1"));
}

}  // namespace lossd::plan
