// Logarithms of doubles. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_LOGARITHMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_LOGARITHMS_INL_H_
#undef LOSSD_CORE_KERNELS_LOGARITHMS_INL_H_
#else
#define LOSSD_CORE_KERNELS_LOGARITHMS_INL_H_
#endif

#include "core/kernels/group-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// log(x) for x >= 0, with the ends that the polynomial does not know.
HWY_INLINE Vec<double> Log64(Vec<double> x) {
  const Tag<double> d;
  const auto infinity = hn::Set(d, kInfinity<double>);
  auto y = hn::Log(d, x);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), y);
  return hn::IfThenElse(hn::Lt(x, infinity), y, x);  // also NaN
}

HWY_INLINE Vec<double> Log1p64(Vec<double> x) {
  const Tag<double> d;
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, kInfinity<double>)), hn::Log1p(d, x), x);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
