#ifndef LOSSD_CORE_EXEC_HITS_H_
#define LOSSD_CORE_EXEC_HITS_H_

#include "core/exec/box_job.h"

namespace lossd {

inline void WriteHit(const BoxJob& job, int64_t output, bool hit, UnitSums& unit) {
  if (!job.run.plan.outputs().argmax_hits) return;
  job.out.argmax_hits[output] = static_cast<std::byte>(hit);
  if (hit) ++unit.sums.correct_count;
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_HITS_H_
