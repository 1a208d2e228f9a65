#ifndef LOSSD_CORE_EXEC_WORKING_MEMORY_H_
#define LOSSD_CORE_EXEC_WORKING_MEMORY_H_

#include <cstdint>

#include "core/plan/loss_plan.h"

namespace lossd {

// The most bytes that a LossRun takes beside what it is given, while up to `threads` threads
// compute its boxes, whatever those are: what Prepare makes of class weights, and scratch memory
// beyond kKeptScratchBytes of each thread, which threads may keep whatever they compute. Nothing
// for ordinary shapes; several times the predictions for rows or tiles of many million classes.
int64_t WorkingBytes(const LossPlan& plan, int threads);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_WORKING_MEMORY_H_
