#include "client/call/geometry.h"

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
  const OutputDTypes dtypes = OutputDTypesOf(spec, DescsOf(inputs));
  if (!axis.has_value() || !elements.has_value() || !BytesOfDesc(predictions).has_value() ||
      !IsKnown(dtypes.gradient) || !IsKnown(dtypes.second_gradient) ||
      *elements > std::numeric_limits<int64_t>::max() / 8) {
    return std::nullopt;
  }
  const Extents extents = ExtentsOf(predictions, *axis);
  if (extents.classes < 1) return std::nullopt;
  Geometry geometry;
  geometry.outer = extents.outer;
  geometry.classes = extents.classes;
  geometry.inner = extents.inner;
  geometry.prediction_size = SizeOf(predictions.dtype);
  geometry.gradient_size = SizeOf(dtypes.gradient);
  geometry.second_gradient_size = SizeOf(dtypes.second_gradient);
  geometry.of_elements = FactsOf(spec.loss).family == Family::kElements;
  geometry.in_one_box = IsInOneBox(spec.loss);
  if (geometry.in_one_box && !geometry.of_elements) {
    const auto positions = GroupedShape(spec.loss, predictions, *axis);
    if (!positions) return std::nullopt;
    geometry.grouped = ElementCount(*positions);
  }
  // What has the shape of the predictions and travels with them.
  const auto read_size = [&](const TensorView& tensor, int64_t& size) {
    size = BytesOfDesc(tensor.desc) ? SizeOf(tensor.desc.dtype) : 0;
    return size != 0 && ElementCount(tensor.desc.shape) == elements;
  };
  const bool dense = inputs.target_kind == TargetKind::kClassProbabilities ||
                     inputs.target_kind == TargetKind::kTargetValues;
  if (dense && !TargetsComeWhole(spec, inputs.target_kind) &&
      !read_size(inputs.targets, geometry.probability_size)) {
    return std::nullopt;
  }
  if (inputs.second_predictions && !read_size(*inputs.second_predictions, geometry.second_size)) {
    return std::nullopt;
  }
  return geometry;
}

int64_t Geometry::BlockSize(const TensorFacts& tensor) const {
  if (tensor.block_field == 0) return 0;
  if (tensor.role == Role::kSecondPredictions) return second_size;
  return tensor.target_kind ? probability_size : prediction_size;
}

int64_t Geometry::OutputSize(const OutputFacts& output) const {
  switch (output.dtype) {
    case OutputDType::kPredictions:
      return prediction_size;
    case OutputDType::kGradient:
      return gradient_size;
    case OutputDType::kSecondGradient:
      return second_gradient_size;
    case OutputDType::kF64:
    case OutputDType::kI32:
    case OutputDType::kU8:
      break;
  }
  return SizeOf(OutputDTypes().Of(output.dtype));
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
    LOSSD_RETURN_IF_ERROR(
        CheckBuffer(row.name, into.*row.member, geometry->CountOf(row), geometry->OutputSize(row)));
  }
  return absl::OkStatus();
}

}  // namespace lossd
