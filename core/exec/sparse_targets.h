#ifndef LOSSD_CORE_EXEC_SPARSE_TARGETS_H_
#define LOSSD_CORE_EXEC_SPARSE_TARGETS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "core/exec/executor.h"
#include "core/exec/run_state.h"

// Sparse targets: K labels for each position, and the share of each. Labels < 0 are none, and equal
// labels add up.

namespace lossd {

// kInvalidArgument names the first label that is no whole number below C.
absl::Status CheckSparseTargets(const RunState& run, Executor& executor, StopToken stop);

// The targets of positions first .. first + count - 1 as rows of C shares.
void SpreadSparseTargets(const RunState& run, int64_t first, int64_t count, kernels::Stop stop,
                         double* rows);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SPARSE_TARGETS_H_
