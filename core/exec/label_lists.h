#ifndef LOSSD_CORE_EXEC_LABEL_LISTS_H_
#define LOSSD_CORE_EXEC_LABEL_LISTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "core/exec/executor.h"
#include "core/exec/run_state.h"

// Class indices of which every position has K: sparse targets, with a share of each, in which a
// label < 0 is none and equal ones add up; or a list, which ends before the first label < 0.

namespace lossd {

// kInvalidArgument names the first label that is no whole number below C.
absl::Status CheckLabelLists(const RunState& run, Executor& executor, StopToken stop);

// The sparse targets of positions first .. first + count - 1 as rows of C shares.
void SpreadSparseTargets(const RunState& run, int64_t first, int64_t count, kernels::Stop stop,
                         double* rows);

// The list of a position; returns how many labels it has. `labels` has room for K.
int64_t ReadLabelList(const RunState& run, int64_t position, double* labels);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_LABEL_LISTS_H_
