#ifndef LOSSD_CORE_EXEC_ARGMAX_H_
#define LOSSD_CORE_EXEC_ARGMAX_H_

#include <cstdint>
#include <limits>

#include "core/exec/reals.h"

namespace lossd {

// Index of the first largest of `count` elements `stride` apart; -1 if there is a NaN. Anything
// once `stop` is set.
inline int64_t ArgMax(kernels::Real real, const void* base, int64_t stride, int64_t count,
                      kernels::Stop stop) {
  double top = -std::numeric_limits<double>::infinity();
  int64_t index = 0;
  for (int64_t k = 0; kernels::GoesOn(k, count, stop); ++k) {
    const double value = LoadReal(real, base, k * stride);
    if (value != value) return -1;
    if (value > top) {
      top = value;
      index = k;
    }
  }
  return index;
}

// Whether element `index` is the first largest, given the largest, or NaN where it is not known.
inline bool IsFirstPeak(kernels::Real real, const void* base, int64_t stride, int64_t count,
                        int64_t index, double peak, kernels::Stop stop) {
  if (peak != peak) return ArgMax(real, base, stride, count, stop) == index;
  if (LoadReal(real, base, index * stride) != peak) return false;
  for (int64_t k = 0; kernels::GoesOn(k, index, stop); ++k) {
    if (LoadReal(real, base, k * stride) == peak) return false;
  }
  return true;
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_ARGMAX_H_
