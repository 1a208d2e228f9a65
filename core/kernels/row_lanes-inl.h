// What the heads of losses of whole rows share. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_ROW_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_ROW_LANES_INL_H_
#undef LOSSD_CORE_KERNELS_ROW_LANES_INL_H_
#else
#define LOSSD_CORE_KERNELS_ROW_LANES_INL_H_
#endif

#include "core/kernels/kernels.h"
#include "core/kernels/lanes-inl.h"
#include "core/kernels/reductions-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// Calls step(k, here) for the registers of a row; `here` are the lanes that lie in it.
template <class Step>
HWY_INLINE void ForLanes(int64_t classes, Step step) {
  const Tag<double> d;
  for (int64_t k = 0; k < classes; k += kLanes<double>) {
    step(k, hn::FirstN(d, static_cast<size_t>(classes - k)));
  }
}

HWY_INLINE Lanes LanesAt(const double* from, int64_t k) {
  return {hn::LoadU(Tag<double>(), from + k)};
}
HWY_INLINE void Put(Lanes value, double* to, int64_t k) {
  hn::StoreU(value.v, Tag<double>(), to + k);
}

// The sum of terms of a row.
HWY_INLINE double SumOf(const double* terms, int64_t classes) {
  Sum64 sum;
  for (int64_t k = 0; k < classes; k += kGroup) {
    sum.Add(LoadGroupAt<Real::kF64, double>(terms, k, classes, 0.0));
  }
  return sum.Total();
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
