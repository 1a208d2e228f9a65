#ifndef LOSSD_CORE_EXEC_TVERSKY_H_
#define LOSSD_CORE_EXEC_TVERSKY_H_

#include <cstdint>

#include "core/plan/loss_plan.h"

namespace lossd {

// What kTversky keeps of all places together, whatever the threads. 0 for other losses.
int64_t GroupBytes(const LossPlan& plan);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_TVERSKY_H_
