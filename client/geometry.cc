#include "client/geometry.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "lossd/shapes.h"
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

absl::Status CheckView(std::string_view name, const TensorView& view) {
  const std::optional<int64_t> wanted = BytesOfDesc(view.desc);
  const auto got = static_cast<int64_t>(view.bytes.size());
  if (!wanted.has_value() || *wanted == got) return absl::OkStatus();
  const std::string_view dtype = Name(view.desc.dtype);
  return absl::InvalidArgumentError(absl::StrCat("the memory of ", std::string(name), " has ", got,
                                                 " bytes; ",
                                                 absl::string_view(dtype.data(), dtype.size()),
                                                 ShapeString(view.desc.shape), " needs ", *wanted));
}

absl::Status CheckBuffer(std::string_view name, MutableByteSpan buffer, int64_t count,
                         int64_t size) {
  if (buffer.empty() || static_cast<int64_t>(buffer.size()) == count * size)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("into.", std::string(name), " has ", buffer.size(),
                                                 " bytes; ", count, " elements of ", size,
                                                 " bytes need ", count * size));
}

}  // namespace

std::optional<Geometry> GeometryOf(const LossSpec& spec, const LossInputs& inputs) {
  const TensorDesc& predictions = inputs.predictions.desc;
  const std::optional<int> axis = ClassAxis(spec.class_axis, predictions);
  const std::optional<int64_t> elements = ElementCount(predictions.shape);
  const DType gradient_dtype = spec.gradient_dtype.value_or(predictions.dtype);
  if (!axis.has_value() || !elements.has_value() || !BytesOfDesc(predictions).has_value() ||
      !IsKnown(gradient_dtype) || *elements > std::numeric_limits<int64_t>::max() / 8) {
    return std::nullopt;
  }
  const Extents extents = ExtentsOf(predictions, *axis);
  if (extents.classes < 1) return std::nullopt;
  Geometry geometry;
  geometry.outer = extents.outer;
  geometry.classes = extents.classes;
  geometry.inner = extents.inner;
  geometry.prediction_size = SizeOf(predictions.dtype);
  geometry.gradient_size = SizeOf(gradient_dtype);
  const bool weighed = spec.reduction == Reduction::kWeightSum ||
                       (spec.reduction == Reduction::kGiven && spec.denominator == 0.0);
  geometry.of_elements = FactsOf(spec.loss).family == Family::kElements;
  if (inputs.target_kind == TargetKind::kTargetValues ||
      (inputs.target_kind == TargetKind::kClassProbabilities && !weighed)) {
    const TensorDesc& targets = inputs.targets.desc;
    if (!BytesOfDesc(targets).has_value() || ElementCount(targets.shape) != elements) {
      return std::nullopt;
    }
    geometry.probability_size = SizeOf(targets.dtype);
  }
  return geometry;
}

int64_t Geometry::BlockSize(const TensorFacts& tensor) const {
  if (tensor.block_field == 0) return 0;
  return tensor.target_kind ? probability_size : prediction_size;
}

int64_t Geometry::OutputSize(const OutputFacts& output) const {
  if (output.dtype) return SizeOf(*output.dtype);
  return output.is_gradient ? gradient_size : prediction_size;
}

OutputSet OutputsFor(const LossOutputs& into) {
  return MapOutputs<bool>(
      into, [](const OutputFacts&, MutableByteSpan buffer) { return !buffer.empty(); });
}

absl::Status CheckMemory(const LossInputs& inputs, const std::optional<Geometry>& geometry,
                         const LossOutputs& into) {
  LOSSD_RETURN_IF_ERROR(CheckTensors(inputs, [](const TensorFacts& row, const TensorView& view) {
    return CheckView(row.member_name(), view);
  }));
  if (!geometry.has_value()) return absl::OkStatus();
  for (const OutputRow<MutableByteSpan>& row : kOutputRows<MutableByteSpan>) {
    LOSSD_RETURN_IF_ERROR(CheckBuffer(row.name, into.*row.member,
                                      geometry->positions() * geometry->RowsOf(row),
                                      geometry->OutputSize(row)));
  }
  return absl::OkStatus();
}

}  // namespace lossd
