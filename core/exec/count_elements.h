#ifndef LOSSD_CORE_EXEC_COUNT_ELEMENTS_H_
#define LOSSD_CORE_EXEC_COUNT_ELEMENTS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "core/exec/run_state.h"

namespace lossd {

// Whether ignore_labels has a target value.
bool IsIgnoredTarget(const LossSpec& spec, double target);

// Of a loss over elements, those whose targets are not ignored.
struct CountedElements {
  int64_t count = 0;
  ExactSum weight;  // of q w(k); only where the weight of the targets decides D
};

// Takes time in proportion to the bytes of both kinds of weights, and of the targets where they are
// known whole. Where they are not, nothing that D is made of may depend on them, and all elements
// are counted.
absl::StatusOr<CountedElements> CountElements(const RunState& run, Executor& executor,
                                              StopToken stop);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_COUNT_ELEMENTS_H_
