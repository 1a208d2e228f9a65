#ifndef LOSSD_CORE_PLAN_LABEL_LISTS_H_
#define LOSSD_CORE_PLAN_LABEL_LISTS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/plan/geometry.h"
#include "lossd/loss_spec.h"

namespace lossd::plan {

// Checks class_indices of which every position has K, in the shape of the labels with K behind, and
// sparse_probabilities, which have the same shape. Returns K: up to 1024 beside
// sparse_probabilities, up to the number of classes otherwise.
absl::StatusOr<int64_t> CheckLabelLists(const LossTensorDescs& tensors, const Geometry& geometry);

}  // namespace lossd::plan

#endif  // LOSSD_CORE_PLAN_LABEL_LISTS_H_
