#ifndef LOSSD_CORE_PLAN_GROUPS_H_
#define LOSSD_CORE_PLAN_GROUPS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/plan/geometry.h"
#include "lossd/loss_spec.h"

namespace lossd {

// The groups of a loss of Family::kGroups: group g has the places of outer indices
// g * outer .. (g + 1) * outer - 1. A position is a class of a group: g * classes + k.
struct GroupsPlan {
  int64_t count = 1;
  int64_t outer = 0;
  std::vector<int64_t> shape = {};  // of the positions (GroupedShape)
};

namespace plan {

// Checks what is special about the tensors of the loss; targets and position weights have the
// shapes they have with losses over classes.
absl::StatusOr<GroupsPlan> MakeGroupsPlan(const LossSpec& spec, const LossTensorDescs& tensors,
                                          const Geometry& geometry);

}  // namespace plan
}  // namespace lossd

#endif  // LOSSD_CORE_PLAN_GROUPS_H_
