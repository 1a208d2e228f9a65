#ifndef LOSSD_LOSSCTL_COMPUTE_FLAGS_H_
#define LOSSD_LOSSCTL_COMPUTE_FLAGS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/lossctl/flags.h"
#include "client/lossctl/loss_flags.h"
#include "lossd/client.h"
#include "lossd/loss_spec.h"

namespace lossd::lossctl {

// The flags of `lossctl compute`, as text.
struct ComputeFlags : OptionFlags {
  ServerFlags server;
  Flag transport;
  Flag fan_out;
  bool json = false;

  Flag loss;
  Flag predictions;
  Flag targets;
  Flag target_kind;
  Flag class_axis;
  Flag fortran_order;

  Flag class_weights;
  Flag weight_normalization;
  Flag position_weights;
  std::vector<std::string> ignore_labels;
  Flag label_smoothing;
  Flag loss_weight;

  Flag reduction;
  Flag denominator;
  Flag all_ignored;
  Flag non_finite;

  Flag upstream_gradient;
  Flag gradient_scale;
  Flag gradient_dtype;

  Flag gradient_out;
  Flag position_losses_out;
  Flag log_sum_exp_out;
  Flag hits_out;
  Flag probabilities_out;
};

// Those that take a value.
absl::Span<const FlagRow<ComputeFlags>> ComputeFlagTable();

// What the flags ask for. Ranges are the server's to check; here only: is it a number, is it one of
// the names, does the option belong to the loss.
absl::StatusOr<LossSpec> ReadSpec(const ComputeFlags& flags);
absl::StatusOr<CallOptions> ReadCallOptions(const ComputeFlags& flags);

enum class TargetKindFlag { kAuto, kIndices, kProbabilities };
absl::StatusOr<TargetKindFlag> ReadTargetKind(const ComputeFlags& flags);

// What Fortran order of a file says: that the tensor is column-major, with the batch dimension
// last, or nothing beside the order of the bytes. Not given: column-major.
enum class FortranOrderFlag { kColumnMajor, kStorage };
absl::StatusOr<std::optional<FortranOrderFlag>> ReadFortranOrder(const ComputeFlags& flags);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_COMPUTE_FLAGS_H_
