#ifndef LOSSD_LOSSCTL_COMPUTE_FLAGS_H_
#define LOSSD_LOSSCTL_COMPUTE_FLAGS_H_

#include <array>
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

// The flags of `lossctl compute`, as text: the files of side tensors are flags of their names.
struct ComputeFlags : OptionFlags, SideTensors<Flag> {
  ServerFlags server;
  Flag transport;
  Flag fan_out;
  bool json = false;

  Flag loss;
  Flag predictions;
  Flag target_kind;
  Flag class_axis;
  Flag fortran_order;

  Flag weight_normalization;
  std::vector<std::string> ignore_labels;
  Flag label_smoothing;
  Flag loss_weight;

  Flag reduction;
  Flag denominator;
  Flag all_ignored;
  Flag non_finite;

  Flag gradient_scale;
  Flag gradient_dtype;

  Flag gradient_out;
  Flag position_losses_out;
  Flag log_sum_exp_out;
  Flag hits_out;
  Flag probabilities_out;
};

// The flags of the files to write, in the order of kOutputRows.
inline constexpr std::array<Flag ComputeFlags::*, kOutputCount> kOutputFlags = {
    &ComputeFlags::gradient_out, &ComputeFlags::position_losses_out, &ComputeFlags::log_sum_exp_out,
    &ComputeFlags::hits_out, &ComputeFlags::probabilities_out};
static_assert(kOutputFlags.back() != nullptr);

// Those that take a value.
absl::Span<const FlagRow<ComputeFlags>> ComputeFlagTable();

// "--class-weights". Precondition: the table has it.
const char* NameOf(Flag ComputeFlags::*flag);

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
