#ifndef LOSSD_CORE_PLAN_CLASS_WEIGHTS_H_
#define LOSSD_CORE_PLAN_CLASS_WEIGHTS_H_

#include "absl/status/statusor.h"
#include "core/plan/geometry.h"
#include "core/plan/loss_plan.h"
#include "lossd/loss_spec.h"

namespace lossd::plan {

// Checks the description of the class weights against the predictions'. Of the shapes they may
// have, [C] is tried first, then the predictions', then that of one sample.
absl::StatusOr<ClassWeightsPlan> MakeClassWeightsPlan(const TensorDesc& weights,
                                                      WeightNormalization normalization,
                                                      const TensorDesc& predictions,
                                                      const Geometry& geometry);

}  // namespace lossd::plan

#endif  // LOSSD_CORE_PLAN_CLASS_WEIGHTS_H_
