#include "client/lossctl/compute_outputs.h"

#include <new>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/npy/npy.h"
#include "lossd/shapes.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

absl::Status At(const char* flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

}  // namespace

std::vector<int64_t> LabelShape(const ComputeInputs& inputs) {
  const LossInputs& tensors = inputs.tensors;
  if (inputs.of_elements) return tensors.predictions.desc.shape;
  if (inputs.grouped_shape) return *inputs.grouped_shape;
  std::vector<int64_t> shape = Without(tensors.predictions.desc.shape, inputs.class_axis);
  // Labels of another size are for the server to refuse.
  if (tensors.target_kind == TargetKind::kClassIndices &&
      ElementCount(tensors.targets.desc.shape) == ElementCount(shape)) {
    return tensors.targets.desc.shape;
  }
  return shape;
}

absl::Status ComputeOutputs::Add(const char* flag, const FlagText& path, const TensorDesc& desc,
                                 MutableByteSpan* into) {
  if (!path) return absl::OkStatus();
  LOSSD_RETURN_IF_ERROR(Required(flag, path).status());
  for (const File& other : files_) {
    if (other.path == *path && *path != "/dev/null") {
      return absl::InvalidArgumentError(
          absl::StrCat(other.flag, " and ", flag, " both name ", *path));
    }
  }
  if (const absl::Status status = npy::CheckWritable(*path); !status.ok()) return At(flag, status);
  const std::optional<int64_t> size = ByteCount(desc);
  std::unique_ptr<std::byte[]> memory;
  if (size) memory.reset(new (std::nothrow) std::byte[*size]);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat(flag, ": no memory for an output of shape ", ShapeString(desc.shape)));
  }
  *into = MutableByteSpan(memory.get(), *size);
  files_.push_back({flag, *path, desc, std::move(memory), *size});
  return absl::OkStatus();
}

absl::StatusOr<ComputeOutputs> ComputeOutputs::Make(const ComputeFlags& flags, const LossSpec& spec,
                                                    const ComputeInputs& inputs) {
  const TensorDesc& predictions = inputs.tensors.predictions.desc;
  const OutputDTypes dtypes = OutputDTypesOf(spec, DescsOf(inputs.tensors));
  const std::vector<int64_t> labels = LabelShape(inputs);
  ComputeOutputs outputs;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[i];
    const TensorDesc desc = {dtypes.Of(row.dtype),
                             row.per == Per::kElement ? predictions.shape : labels,
                             predictions.layout};
    LOSSD_RETURN_IF_ERROR(outputs.Add(NameOf(kOutputFlags[i]), flags.*kOutputFlags[i], desc,
                                      &(outputs.into_.*row.member)));
  }
  return outputs;
}

absl::Status ComputeOutputs::Write(const std::function<void(const std::string& path)>& next) const {
  for (const File& file : files_) {
    next(file.path);
    const TensorView tensor{file.desc, ByteSpan(file.memory.get(), file.size)};
    if (const absl::Status status = npy::WriteNpy(file.path, tensor); !status.ok()) {
      return At(file.flag, status);
    }
  }
  return absl::OkStatus();
}

std::vector<Row> ComputeOutputs::Rows() const {
  std::vector<Row> rows;
  for (const File& file : files_) {
    rows.emplace_back("wrote", absl::StrCat(file.path, "  ", std::string(Name(file.desc.dtype)),
                                            " ", ShapeString(file.desc.shape)));
  }
  return rows;
}

}  // namespace lossd::lossctl
