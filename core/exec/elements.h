#ifndef LOSSD_CORE_EXEC_ELEMENTS_H_
#define LOSSD_CORE_EXEC_ELEMENTS_H_

#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "core/exec/run_state.h"

namespace lossd {

// Sum of q w(k) over all elements, of a loss over elements. Takes time in proportion to the bytes
// of both kinds of weights.
absl::StatusOr<ExactSum> WeightOfElements(const RunState& run, Executor& executor, StopToken stop);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_ELEMENTS_H_
