#include "client/geometry.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

bool IsKnown(DType dtype) {
  return std::find(std::begin(kAllDTypes), std::end(kAllDTypes), dtype) != std::end(kAllDTypes);
}

// Bytes a description stands for; nullopt where it stands for nothing.
std::optional<int64_t> BytesOfDesc(const TensorDesc& desc) {
  if (!IsKnown(desc.dtype)) return std::nullopt;
  return ByteCount(desc);
}

// Axis in row-major order, with the defaults.
std::optional<int64_t> AxisOf(const LossSpec& spec, const TensorDesc& predictions) {
  const auto rank = static_cast<int64_t>(predictions.shape.size());
  const bool reversed = predictions.layout == Layout::kColumnMajor;
  int64_t axis = spec.class_axis.value_or(rank == 1 ? 0 : reversed ? -2 : 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return std::nullopt;
  return reversed ? rank - 1 - axis : axis;
}

absl::Status CheckView(absl::string_view name, const TensorView& view) {
  const std::optional<int64_t> wanted = BytesOfDesc(view.desc);
  const auto got = static_cast<int64_t>(view.bytes.size());
  if (!wanted.has_value() || *wanted == got) return absl::OkStatus();
  const std::string_view dtype = Name(view.desc.dtype);
  return absl::InvalidArgumentError(absl::StrCat("the memory of ", name, " has ", got, " bytes; ",
                                                 absl::string_view(dtype.data(), dtype.size()),
                                                 ShapeString(view.desc.shape), " needs ", *wanted));
}

absl::Status CheckBuffer(absl::string_view name, MutableByteSpan buffer, int64_t count,
                         int64_t size) {
  if (buffer.empty() || static_cast<int64_t>(buffer.size()) == count * size)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("into.", name, " has ", buffer.size(), " bytes; ",
                                                 count, " elements of ", size, " bytes need ",
                                                 count * size));
}

}  // namespace

std::optional<Geometry> GeometryOf(const LossSpec& spec, const LossInputs& inputs) {
  const TensorDesc& predictions = inputs.predictions.desc;
  const std::optional<int64_t> axis = AxisOf(spec, predictions);
  const std::optional<int64_t> elements = ElementCount(predictions.shape);
  const DType gradient_dtype = spec.gradient_dtype.value_or(predictions.dtype);
  if (!axis.has_value() || !elements.has_value() || !BytesOfDesc(predictions).has_value() ||
      !IsKnown(gradient_dtype) || *elements > std::numeric_limits<int64_t>::max() / 8) {
    return std::nullopt;
  }
  absl::InlinedVector<int64_t, 8> shape(predictions.shape.begin(), predictions.shape.end());
  if (predictions.layout == Layout::kColumnMajor) std::reverse(shape.begin(), shape.end());
  Geometry geometry;
  geometry.outer = *ElementCount(absl::MakeConstSpan(shape).first(*axis));
  geometry.classes = shape[*axis];
  geometry.inner = *ElementCount(absl::MakeConstSpan(shape).subspan(*axis + 1));
  geometry.prediction_size = SizeOf(predictions.dtype);
  geometry.gradient_size = SizeOf(gradient_dtype);
  if (geometry.classes < 1) return std::nullopt;
  const bool weighed = spec.reduction == Reduction::kWeightSum ||
                       (spec.reduction == Reduction::kGiven && spec.denominator == 0.0);
  if (inputs.target_kind == TargetKind::kClassProbabilities && !weighed) {
    const TensorDesc& targets = inputs.targets.desc;
    if (!BytesOfDesc(targets).has_value() || ElementCount(targets.shape) != elements) {
      return std::nullopt;
    }
    geometry.probability_size = SizeOf(targets.dtype);
  }
  return geometry;
}

OutputSet OutputsFor(const LossOutputs& into) {
  return {.gradient = !into.gradient.empty(),
          .position_losses = !into.position_losses.empty(),
          .log_sum_exp = !into.log_sum_exp.empty(),
          .argmax_hits = !into.argmax_hits.empty(),
          .probabilities = !into.probabilities.empty()};
}

absl::Status CheckMemory(const LossInputs& inputs, const std::optional<Geometry>& geometry,
                         const LossOutputs& into) {
  LOSSD_RETURN_IF_ERROR(CheckView("predictions", inputs.predictions));
  LOSSD_RETURN_IF_ERROR(CheckView("targets", inputs.targets));
  if (inputs.class_weights) {
    LOSSD_RETURN_IF_ERROR(CheckView("class_weights", *inputs.class_weights));
  }
  if (inputs.position_weights) {
    LOSSD_RETURN_IF_ERROR(CheckView("position_weights", *inputs.position_weights));
  }
  if (inputs.upstream_gradient) {
    LOSSD_RETURN_IF_ERROR(CheckView("upstream_gradient", *inputs.upstream_gradient));
  }
  if (!geometry.has_value()) return absl::OkStatus();
  const int64_t positions = geometry->positions();
  const int64_t elements = positions * geometry->classes;
  LOSSD_RETURN_IF_ERROR(CheckBuffer("gradient", into.gradient, elements, geometry->gradient_size));
  LOSSD_RETURN_IF_ERROR(
      CheckBuffer("probabilities", into.probabilities, elements, geometry->prediction_size));
  LOSSD_RETURN_IF_ERROR(CheckBuffer("position_losses", into.position_losses, positions, 8));
  LOSSD_RETURN_IF_ERROR(CheckBuffer("log_sum_exp", into.log_sum_exp, positions, 8));
  return CheckBuffer("argmax_hits", into.argmax_hits, positions, 1);
}

}  // namespace lossd
