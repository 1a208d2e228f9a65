#ifndef LOSSD_LOSSCTL_COMPUTE_INPUTS_H_
#define LOSSD_LOSSCTL_COMPUTE_INPUTS_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "client/lossctl/compute_flags.h"
#include "client/npy/npy.h"
#include "lossd/loss_spec.h"
#include "lossd/shapes.h"

namespace lossd::lossctl {

// The tensors of one call, all in the layout of the predictions.
struct ComputeInputs {
  LossInputs tensors;
  std::vector<npy::NpyTensor> files;  // own what `tensors` points at
  int class_axis = 0;                 // of the predictions, 0 <= class_axis < rank
  bool of_elements = false;           // every element of the predictions is a position
  // Set where a sequence, or a class of a group, is a position.
  std::optional<std::vector<int64_t>> grouped_shape;
  bool fortran_order = false;  // the file's, and taken for column-major unasked
};

// Reads the files. Errors name flag and file.
absl::StatusOr<ComputeInputs> ReadInputs(const ComputeFlags& flags, const LossSpec& spec);

// Probabilities (0 and 1 of any dtype among them) if they have the shape of the predictions, which
// labels have with one class only: then it is labels that are meant.
TargetKind GuessTargetKind(const TensorDesc& targets, const TensorDesc& predictions,
                           int class_axis);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_COMPUTE_INPUTS_H_
