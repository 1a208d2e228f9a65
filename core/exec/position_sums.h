#ifndef LOSSD_CORE_EXEC_POSITION_SUMS_H_
#define LOSSD_CORE_EXEC_POSITION_SUMS_H_

#include <cstdint>

#include "core/exec/box_job.h"

namespace lossd {

// Adds the loaded positions' weights and counts, and their losses l (already weighted, before L and
// q) to the sums; writes their per-position losses, the first at `output`. `weight` as in
// LossResult::weight_sum without q. Neither is looked at where a position is ignored.
void AddPositions(const BoxJob& job, const Positions& positions, int64_t output, const double* loss,
                  const double* weight, UnitSums& unit);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_POSITION_SUMS_H_
