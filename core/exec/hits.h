#ifndef LOSSD_CORE_EXEC_HITS_H_
#define LOSSD_CORE_EXEC_HITS_H_

#include <cstdint>
#include <limits>

#include "core/exec/box_job.h"
#include "core/exec/rows.h"

namespace lossd {

// Whether element `index` is the first largest of `count`, given by at(k); false where one is NaN.
// `peak` is the largest, or NaN where it is not known. Anything once `stop` is set.
template <class At>
bool IsArgMax(int64_t count, int64_t index, double peak, kernels::Stop stop, At at) {
  const double value = at(index);
  const bool known = peak == peak;
  if (known && value != peak) return false;
  for (int64_t k = 0; kernels::GoesOn(k, index, stop); ++k) {
    if (!(at(k) < value)) return false;
  }
  // Nothing is larger than the peak, behind it neither.
  for (int64_t k = index; !known && kernels::GoesOn(k, count, stop); ++k) {
    if (!(at(k) <= value)) return false;
  }
  return true;
}

// Of elements `stride` apart.
inline bool IsArgMax(kernels::Real real, const void* base, int64_t stride, int64_t count,
                     int64_t index, double peak, kernels::Stop stop) {
  // Most positions are told apart here, without a call.
  if (peak == peak && LoadReal(real, base, index * stride) != peak) return false;
  return IsArgMax(count, index, peak, stop,
                  [&](int64_t k) { return LoadReal(real, base, k * stride); });
}

// Index of the first largest element of a row; -1 if there is a NaN. Anything once `stop` is set.
inline int64_t ArgMax(kernels::Real real, const void* row, int64_t count, kernels::Stop stop) {
  double top = -std::numeric_limits<double>::infinity();
  int64_t index = 0;
  for (int64_t k = 0; kernels::GoesOn(k, count, stop); ++k) {
    const double value = LoadReal(real, row, k);
    if (value != value) return -1;
    if (value > top) {
      top = value;
      index = k;
    }
  }
  return index;
}

// Writes whether the position whose output is at `output` is a hit, and counts it.
inline void WriteHit(const BoxJob& job, int64_t output, bool hit, UnitSums& unit) {
  job.out.argmax_hits[output] = static_cast<std::byte>(hit);
  if (hit) ++unit.sums.correct_count;
}

// The hits of rows: label(r) is the class that is to be found, below 0 if there is none; peak(r) is
// the row's largest prediction, or NaN where it is not known.
template <class Label, class PeakOf>
void WriteRowHits(const BoxJob& job, const Rows& rows, UnitSums& unit, Label label, PeakOf peak) {
  if (!job.run.plan.outputs().argmax_hits) return;
  const kernels::Real real = job.run.real();
  const int64_t classes = job.classes();
  for (int64_t r = 0; r < rows.count; ++r) {
    const std::byte* x = rows.predictions + r * classes * kernels::SizeOf(real);
    const int64_t y = label(r);
    const bool hit = y >= 0 && IsArgMax(real, x, 1, classes, y, peak(r), job.stop);
    WriteHit(job, rows.first_output + r, hit, unit);
  }
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_HITS_H_
