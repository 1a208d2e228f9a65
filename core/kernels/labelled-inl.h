// What follows from the softmax of a position and its label. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_LABELLED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_LABELLED_INL_H_
#undef LOSSD_CORE_KERNELS_LABELLED_INL_H_
#else
#define LOSSD_CORE_KERNELS_LABELLED_INL_H_
#endif

#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// See LabelledPositions.
struct LabelledGradient {
  Vec<double> label_gradient;
  Vec<double> scale;
};

// The sum of e^(x - peak) without the label's.
HWY_INLINE Vec<double> Others(Vec<double> peak, Vec<double> rest, Vec<double> picked,
                              Vec<double> picked_exponential) {
  const auto under_peak = hn::Sub(hn::Set(Tag<double>(), 1.0), picked_exponential);
  return hn::IfThenElse(hn::Eq(picked, peak), rest, hn::Add(rest, under_peak));
}

HWY_INLINE LabelledGradient GradientOf(Vec<double> peak, Vec<double> rest, Vec<double> picked,
                                       Vec<double> picked_exponential, Vec<double> coefficient) {
  const Tag<double> d;
  const auto whole = hn::Add(hn::Set(d, 1.0), rest);
  const auto others = Others(peak, rest, picked, picked_exponential);
  const auto gradient = hn::Mul(hn::Neg(coefficient), hn::Div(others, whole));
  return {OneNaN<double>(hn::Add(gradient, hn::Zero(d))),
          OneNaN<double>(hn::Div(coefficient, whole))};
}

// x * unit, made finite (see ToFinite).
template <class C>
HWY_INLINE Vec<double> Finite(Vec<double> x, double unit) {
  const Tag<double> d;
  const auto most = hn::Set(d, static_cast<double>(std::numeric_limits<C>::max()));
  const auto least = hn::Neg(most);
  const auto v = hn::Mul(x, hn::Set(d, unit));
  const auto capped = hn::IfThenElse(hn::Gt(v, most), most, v);  // not Min: NaN stays
  return hn::IfThenElse(hn::Lt(capped, least), least, capped);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
