#ifndef LOSSD_CORE_EXEC_SOFTMAX_POSITION_H_
#define LOSSD_CORE_EXEC_SOFTMAX_POSITION_H_

#include <algorithm>
#include <cmath>
#include <limits>

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

// To the compute type, infinity made the largest finite number: a class of probability 0 times an
// infinite factor would be NaN.
template <class C>
C ToFinite(double value) {
  constexpr double kMax = std::numeric_limits<C>::max();
  if (std::isnan(value)) return std::numeric_limits<C>::quiet_NaN();
  return static_cast<C>(std::clamp(value, -kMax, kMax));
}

inline void WriteHit(const BoxJob& job, int64_t output, bool hit, UnitSums& unit) {
  if (!job.run.plan.outputs().argmax_hits) return;
  job.out.argmax_hits[output] = static_cast<std::byte>(hit);
  if (hit) ++unit.sums.correct_count;
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SOFTMAX_POSITION_H_
