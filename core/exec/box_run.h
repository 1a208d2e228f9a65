#ifndef LOSSD_CORE_EXEC_BOX_RUN_H_
#define LOSSD_CORE_EXEC_BOX_RUN_H_

#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "core/exec/run_state.h"

namespace lossd {

// LossRun::RunBox.
absl::StatusOr<PartialSums> RunBox(const RunState& run, const Box& box, const BoxInputs& in,
                                   const LossOutputs& out, Executor& executor, StopToken stop);

// Sum of q_i * sum_k w(k) t_k over all positions, for class probabilities that come whole.
absl::StatusOr<ExactSum> WeightOfTargets(const RunState& run, Executor& executor, StopToken stop);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_BOX_RUN_H_
