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
struct ComputeFlags : OptionFlags, SideTensors<FlagText> {
  ServerFlags server;
  FlagText transport;
  FlagText fan_out;
  bool json = false;

  FlagText loss;
  FlagText spec;
  FlagText predictions;
  FlagText second_predictions;
  FlagText target_kind;
  FlagText class_axis;
  FlagText fortran_order;

  FlagText weight_normalization;
  std::vector<std::string> ignore_labels;
  FlagText label_smoothing;
  FlagText loss_weight;

  FlagText reduction;
  FlagText denominator;
  FlagText all_ignored;
  FlagText non_finite;

  FlagText gradient_scale;
  FlagText gradient_dtype;
  FlagText second_gradient_dtype;

  FlagText gradient_out;
  FlagText position_losses_out;
  FlagText log_sum_exp_out;
  FlagText hits_out;
  FlagText probabilities_out;
  FlagText label_log_probabilities_out;
  FlagText entropy_out;
  FlagText label_rank_out;
  FlagText second_gradient_out;
};

// The flags of the files to write, in the order of kOutputRows.
inline constexpr std::array<FlagText ComputeFlags::*, kOutputCount> kOutputFlags = {
    &ComputeFlags::gradient_out,       &ComputeFlags::position_losses_out,
    &ComputeFlags::log_sum_exp_out,    &ComputeFlags::hits_out,
    &ComputeFlags::probabilities_out,  &ComputeFlags::label_log_probabilities_out,
    &ComputeFlags::entropy_out,        &ComputeFlags::label_rank_out,
    &ComputeFlags::second_gradient_out};
static_assert(kOutputFlags.back() != nullptr);

// Those that take a value.
absl::Span<const FlagRow<ComputeFlags>> ComputeFlagTable();

// "--class-weights". Precondition: the table has it.
const char* NameOf(FlagText ComputeFlags::*flag);

// What the flags ask for, or the file of --spec, beside which none of them may be given. Ranges are
// the server's to check; here only: is it a number, is it one of the names, does the option belong
// to the loss.
absl::StatusOr<LossSpec> ReadSpec(const ComputeFlags& flags);
absl::StatusOr<CallOptions> ReadCallOptions(const ComputeFlags& flags);

enum class TargetKindFlag { kAuto, kIndices, kProbabilities, kValues };
absl::StatusOr<TargetKindFlag> ReadTargetKind(const ComputeFlags& flags);

// What Fortran order of a file says: that the tensor is column-major, with the batch dimension
// last, or nothing beside the order of the bytes. Not given: column-major.
enum class FortranOrderFlag { kColumnMajor, kStorage };
absl::StatusOr<std::optional<FortranOrderFlag>> ReadFortranOrder(const ComputeFlags& flags);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_COMPUTE_FLAGS_H_
