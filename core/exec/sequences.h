#ifndef LOSSD_CORE_EXEC_SEQUENCES_H_
#define LOSSD_CORE_EXEC_SEQUENCES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "core/exec/run_state.h"

// Sequences: how long each is, and what their labels are.

namespace lossd {

// Frames and labels of sequence n of a loss of Family::kSequences. Precondition: they were checked.
int64_t FramesOf(const RunState& run, int64_t n);
std::vector<int32_t> LabelsOf(const RunState& run, int64_t n);

// Frames that the labels take at least: as many as there are, and one between two that are equal.
int64_t FramesNeeded(const std::vector<int32_t>& labels);

// Checks the lengths and labels of all sequences; under InfeasiblePolicy::kError also that each is
// long enough. kInvalidArgument names the first that is wrong.
absl::Status CheckSequences(const RunState& run, Executor& executor, StopToken stop);

// Of a policy loss with RatioLevel::kSequence: the index behind the last token of each sequence.
// kInvalidArgument where the lengths are not those of the tokens.
absl::StatusOr<std::vector<int64_t>> TokenSequences(const RunState& run);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SEQUENCES_H_
