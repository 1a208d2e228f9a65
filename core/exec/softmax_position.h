#ifndef LOSSD_CORE_EXEC_SOFTMAX_POSITION_H_
#define LOSSD_CORE_EXEC_SOFTMAX_POSITION_H_

#include <algorithm>
#include <cmath>

#include "core/exec/box_job.h"

namespace lossd {

// Softmax loss and label gradient of one position with a hard target, from the sums of its row.
struct SoftmaxPosition {
  double peak;                // largest logit
  double rest;                // sum of e^(x - peak) without one largest
  double log1p_rest;          // log of the whole sum
  double picked;              // logit of the label
  double picked_exponential;  // e^(picked - peak)

  // -log s_y = (peak - x_y) + log1p(rest): no cancellation, however certain the row is.
  double Loss(const RunState& run, UnitSums& unit) const {
    const double loss = (peak - picked) + log1p_rest;
    if (!(loss > run.loss_cap)) return loss;
    ++unit.sums.clamped_count;
    return run.loss_cap;
  }

  // 1 - s_y as the sum of the other classes over the whole sum.
  double OthersShare() const {
    const double others = picked == peak ? rest : rest + (1.0 - picked_exponential);
    return others / (1.0 + rest);
  }
};

inline void WriteHit(const BoxJob& job, int64_t output, bool hit, UnitSums& unit) {
  if (!job.run.plan.outputs().argmax_hits) return;
  job.out.argmax_hits[output] = static_cast<std::byte>(hit);
  if (hit) ++unit.sums.correct_count;
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SOFTMAX_POSITION_H_
