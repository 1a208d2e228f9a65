#include "client/lossctl/compute_inputs.h"

#include <utility>

#include "client/lossctl/layout.h"
#include "lossd/status_macros.h"

namespace lossd::lossctl {
namespace {

absl::Status At(const char* flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

absl::StatusOr<npy::NpyTensor> ReadFile(const char* flag, const std::string& path) {
  absl::StatusOr<npy::NpyTensor> tensor = npy::ReadNpy(path);
  if (!tensor.ok()) return At(flag, tensor.status());
  return tensor;
}

// Reads a tensor that goes with the predictions.
absl::StatusOr<TensorView> ReadBeside(const char* flag, const std::string& path,
                                      ComputeInputs* inputs) {
  LOSSD_ASSIGN_OR_RETURN(const npy::NpyTensor file, ReadFile(flag, path));
  absl::StatusOr<npy::NpyTensor> tensor = InLayout(file, inputs->tensors.predictions.desc.layout);
  if (!tensor.ok()) return At(flag, tensor.status());
  inputs->files.push_back(*std::move(tensor));
  return inputs->files.back().view();
}

absl::Status ReadOptional(const char* flag, const Flag& path, ComputeInputs* inputs,
                          std::optional<TensorView>* tensor) {
  if (!path) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(*tensor, ReadBeside(flag, *path, inputs));
  return absl::OkStatus();
}

}  // namespace

std::optional<int> ClassAxis(const std::optional<int>& wanted, const TensorDesc& predictions) {
  const int rank = static_cast<int>(predictions.shape.size());
  if (!wanted) {
    if (rank < 2) return rank == 1 ? std::optional(0) : std::nullopt;
    return predictions.layout == Layout::kRowMajor ? 1 : rank - 2;
  }
  if (*wanted < -rank || *wanted >= rank) return std::nullopt;
  return *wanted < 0 ? *wanted + rank : *wanted;
}

TargetKind GuessTargetKind(const TensorDesc& targets, const TensorDesc& predictions,
                           int class_axis) {
  const bool probabilities = IsFloating(targets.dtype) && targets.shape == predictions.shape &&
                             predictions.shape[class_axis] != 1;
  return probabilities ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
}

absl::StatusOr<ComputeInputs> ReadInputs(const ComputeFlags& flags, const LossSpec& spec) {
  LOSSD_ASSIGN_OR_RETURN(const std::string path, Required("--predictions", flags.predictions));
  LOSSD_ASSIGN_OR_RETURN(const std::string targets, Required("--targets", flags.targets));
  LOSSD_ASSIGN_OR_RETURN(const TargetKindFlag kind, ReadTargetKind(flags));

  ComputeInputs inputs;
  LOSSD_ASSIGN_OR_RETURN(npy::NpyTensor predictions, ReadFile("--predictions", path));
  inputs.files.push_back(std::move(predictions));
  const TensorView& x = inputs.tensors.predictions = inputs.files.back().view();
  const std::optional<int> axis = ClassAxis(spec.class_axis, x.desc);
  if (!axis) {
    const std::string has =
        absl::StrCat("the predictions (", path, ") have shape ", ShapeString(x.desc.shape));
    return absl::InvalidArgumentError(
        spec.class_axis ? absl::StrCat("--class-axis is ", *spec.class_axis, "; ", has)
                        : absl::StrCat("--predictions: ", has, "; wanted a class axis"));
  }
  inputs.class_axis = *axis;

  LossInputs& tensors = inputs.tensors;
  LOSSD_ASSIGN_OR_RETURN(tensors.targets, ReadBeside("--targets", targets, &inputs));
  tensors.target_kind = kind == TargetKindFlag::kIndices ? TargetKind::kClassIndices
                        : kind == TargetKindFlag::kProbabilities
                            ? TargetKind::kClassProbabilities
                            : GuessTargetKind(tensors.targets.desc, x.desc, *axis);
  LOSSD_RETURN_IF_ERROR(
      ReadOptional("--class-weights", flags.class_weights, &inputs, &tensors.class_weights));
  LOSSD_RETURN_IF_ERROR(ReadOptional("--position-weights", flags.position_weights, &inputs,
                                     &tensors.position_weights));
  LOSSD_RETURN_IF_ERROR(ReadOptional("--upstream-gradient", flags.upstream_gradient, &inputs,
                                     &tensors.upstream_gradient));
  return inputs;
}

}  // namespace lossd::lossctl
