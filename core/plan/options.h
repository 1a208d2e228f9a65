#ifndef LOSSD_CORE_PLAN_OPTIONS_H_
#define LOSSD_CORE_PLAN_OPTIONS_H_

#include "absl/status/status.h"
#include "core/plan/geometry.h"
#include "lossd/loss_spec.h"

namespace lossd::plan {

inline constexpr int kMaxIgnoreLabels = 64;

// Checks the options of a loss by themselves.
absl::Status CheckOptionsOf(const Loss& any);

// Checks every option of `spec` but the class axis, which the geometry has used, in the order in
// which they stand in the wire contract.
absl::Status CheckOptions(const LossSpec& spec, const LossTensorDescs& tensors,
                          const Geometry& geometry);

}  // namespace lossd::plan

#endif  // LOSSD_CORE_PLAN_OPTIONS_H_
