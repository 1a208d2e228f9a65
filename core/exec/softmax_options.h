#ifndef LOSSD_CORE_EXEC_SOFTMAX_OPTIONS_H_
#define LOSSD_CORE_EXEC_SOFTMAX_OPTIONS_H_

#include <optional>

#include "absl/status/status.h"
#include "core/exec/run_state.h"
#include "core/plan/loss_plan.h"

namespace lossd {

// The options of a loss of Family::kSoftmax, under the names that all losses of the family have for
// them; the defaults change nothing.
struct SoftmaxOptions {
  double log_floor = 0;
  double lse_square_scale = 0;
  std::optional<double> focal_gamma = {};
  std::optional<double> soft_cap = {};
  double temperature = 1;
  double entropy_bonus = 0;
  const SoftmaxMargin* margin = nullptr;

  bool change_logits() const {
    return soft_cap.has_value() || temperature != 1 || margin != nullptr;
  }
};
SoftmaxOptions SoftmaxOptionsOf(const Loss& loss);

// Whether a row is looked at as a whole: softmax_changed.cc is its runner.
bool IsChanged(const LossPlan& plan);

// Gives the run its softmax head, if its loss has one, and what runners know beside it.
// kInvalidArgument names the first class bias that is neither finite nor -inf.
absl::Status SetSoftmaxOptions(RunState& run);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SOFTMAX_OPTIONS_H_
