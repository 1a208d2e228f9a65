#include "client/lossctl/compute_inputs.h"

#include <utility>

#include "client/lossctl/layout.h"
#include "client/lossctl/to_floats.h"
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

// Keeps a tensor that was made of a file of `flag`'s, and returns its view.
absl::StatusOr<TensorView> Keep(const char* flag, absl::StatusOr<npy::NpyTensor> tensor,
                                ComputeInputs* inputs) {
  if (!tensor.ok()) return At(flag, tensor.status());
  inputs->files.push_back(*std::move(tensor));
  return inputs->files.back().view();
}

// Reads a tensor that goes with the predictions.
absl::StatusOr<npy::NpyTensor> ReadBeside(const char* flag, const std::string& path,
                                          const ComputeInputs& inputs) {
  LOSSD_ASSIGN_OR_RETURN(const npy::NpyTensor file, ReadFile(flag, path));
  absl::StatusOr<npy::NpyTensor> tensor = InLayout(file, inputs.tensors.predictions.desc.layout);
  if (!tensor.ok()) return At(flag, tensor.status());
  return tensor;
}

// Reads weights, which are floats.
absl::Status ReadOptional(const char* flag, const FlagText& path, bool floating,
                          ComputeInputs* inputs, std::optional<TensorView>* tensor) {
  if (!path) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(npy::NpyTensor read, ReadBeside(flag, *path, *inputs));
  LOSSD_ASSIGN_OR_RETURN(*tensor, Keep(flag, floating ? ToFloats(read) : std::move(read), inputs));
  return absl::OkStatus();
}

absl::Status ReadPredictions(const ComputeFlags& flags, const std::string& path,
                             ComputeInputs* inputs) {
  constexpr char kFlag[] = "--predictions";
  LOSSD_ASSIGN_OR_RETURN(const std::optional<FortranOrderFlag> order, ReadFortranOrder(flags));
  LOSSD_ASSIGN_OR_RETURN(npy::NpyTensor file, ReadFile(kFlag, path));
  inputs->fortran_order = !order && file.view().desc.layout == Layout::kColumnMajor;
  const bool storage = order == FortranOrderFlag::kStorage;
  LOSSD_ASSIGN_OR_RETURN(
      inputs->tensors.predictions,
      Keep(kFlag, storage ? InLayout(file, Layout::kRowMajor) : std::move(file), inputs));
  return absl::OkStatus();
}

// Whether the targets would fit the class axis of C order as well as that of column-major: then the
// wrong one would be taken without a word.
absl::Status CheckAxisIsMeant(const ComputeFlags& flags, const ComputeInputs& inputs) {
  const std::vector<int64_t>& shape = inputs.tensors.predictions.desc.shape;
  if (!inputs.fortran_order || flags.class_axis || shape.size() < 2) return absl::OkStatus();
  const bool other_fits = inputs.tensors.target_kind != TargetKind::kClassIndices ||
                          shape[1] == shape[inputs.class_axis];
  if (inputs.class_axis == 1 || !other_fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--predictions: the file is in Fortran order, and targets of shape ",
                   ShapeString(inputs.tensors.targets.desc.shape), " fit predictions of shape ",
                   ShapeString(shape), " with class axis ", inputs.class_axis,
                   " (column-major) and 1 (C order); wanted --fortran-order=column-major, "
                   "--fortran-order=storage or --class-axis"));
}

TargetKind KindOfTargets(TargetKindFlag flag, const Loss& loss, const TensorDesc& targets,
                         const TensorDesc& predictions, int class_axis) {
  switch (flag) {
    case TargetKindFlag::kIndices:
      return TargetKind::kClassIndices;
    case TargetKindFlag::kProbabilities:
      return TargetKind::kClassProbabilities;
    case TargetKindFlag::kValues:
      return TargetKind::kTargetValues;
    case TargetKindFlag::kAuto:
      break;
  }
  if (Takes(FactsOf(loss), Role::kTargetValues)) return TargetKind::kTargetValues;
  if (!Takes(FactsOf(loss), Role::kClassProbabilities)) return TargetKind::kClassIndices;
  if (!Takes(FactsOf(loss), Role::kClassIndices)) return TargetKind::kClassProbabilities;
  return GuessTargetKind(targets, predictions, class_axis);
}

// Losses without targets are given none.
absl::Status ReadTargets(const ComputeFlags& flags, const Loss& loss, ComputeInputs* inputs) {
  LossInputs& tensors = inputs->tensors;
  LOSSD_ASSIGN_OR_RETURN(const TargetKindFlag kind, ReadTargetKind(flags));
  tensors.target_kind = TargetKind::kNone;
  if (!flags.targets && !TakesTargets(FactsOf(loss))) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const std::string path, Required("--targets", flags.targets));
  LOSSD_ASSIGN_OR_RETURN(npy::NpyTensor read, ReadBeside("--targets", path, *inputs));
  tensors.target_kind = flags.sparse_probabilities
                            ? TargetKind::kClassIndices
                            : KindOfTargets(kind, loss, read.view().desc, tensors.predictions.desc,
                                            inputs->class_axis);
  const bool floats = tensors.target_kind == TargetKind::kClassProbabilities;
  LOSSD_ASSIGN_OR_RETURN(tensors.targets,
                         Keep("--targets", floats ? ToFloats(read) : std::move(read), inputs));
  return CheckAxisIsMeant(flags, *inputs);
}

}  // namespace

TargetKind GuessTargetKind(const TensorDesc& targets, const TensorDesc& predictions,
                           int class_axis) {
  const bool probabilities =
      targets.shape == predictions.shape && predictions.shape[class_axis] != 1;
  return probabilities ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
}

absl::StatusOr<ComputeInputs> ReadInputs(const ComputeFlags& flags, const LossSpec& spec) {
  LOSSD_ASSIGN_OR_RETURN(const std::string path, Required("--predictions", flags.predictions));

  ComputeInputs inputs;
  LOSSD_RETURN_IF_ERROR(ReadPredictions(flags, path, &inputs));
  const TensorView& x = inputs.tensors.predictions;
  const std::optional<int> axis = ClassAxis(spec.class_axis, x.desc);
  if (!axis) {
    const std::string has =
        absl::StrCat("the predictions (", path, ") have shape ", ShapeString(x.desc.shape));
    return absl::InvalidArgumentError(
        spec.class_axis ? absl::StrCat("--class-axis is ", *spec.class_axis, "; ", has)
                        : absl::StrCat("--predictions: ", has, "; wanted a class axis"));
  }
  inputs.class_axis = *axis;
  inputs.of_elements = FactsOf(spec.loss).family == Family::kElements;
  inputs.grouped_shape = GroupedShape(spec.loss, x.desc, *axis);

  LossInputs& tensors = inputs.tensors;
  LOSSD_RETURN_IF_ERROR(ReadTargets(flags, spec.loss, &inputs));
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<TensorView>& row = kTensorRows<TensorView>[i];
    if (row.sometimes == nullptr) continue;
    const bool second = row.role == Role::kSecondPredictions;
    FlagText ComputeFlags::*const flag =
        second ? &ComputeFlags::second_predictions
               : static_cast<FlagText ComputeFlags::*>(kTensorRows<FlagText>[i].whole);
    LOSSD_RETURN_IF_ERROR(
        ReadOptional(NameOf(flag), flags.*flag, row.floating, &inputs, &(tensors.*row.sometimes)));
  }
  return inputs;
}

}  // namespace lossd::lossctl
