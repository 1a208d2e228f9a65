// Sums and maxima over rows of groups. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_REDUCTIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_REDUCTIONS_INL_H_
#undef LOSSD_CORE_KERNELS_REDUCTIONS_INL_H_
#else
#define LOSSD_CORE_KERNELS_REDUCTIONS_INL_H_
#endif

#include <cstdint>
#include <type_traits>

#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// A fixed tree over the virtual lanes.
HWY_INLINE double SumLanes(const Group<double>& group) {
  alignas(64) double lanes[kGroup];
  for (int j = 0; j < kRegisters<double>; ++j) {
    hn::Store(group.v[j], Tag<double>(), lanes + j * kLanes<double>);
  }
  double half[8];
  for (int i = 0; i < 8; ++i) half[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; ++i) half[i] += half[i + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}

// kGroup running sums in double, each with the rounding errors of its additions beside it.
struct Sum64 {
  Group<double> high;
  Group<double> low;

  // Spelt out, here and below: a constructor that the compiler supplies is not compiled for the
  // target.
  HWY_INLINE Sum64() : high(Fill(0.0)), low(Fill(0.0)) {}

  // Knuth's exact two-term sum, so that long rows cost no accuracy.
  HWY_INLINE void Add(const Group<double>& term) {
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto sum = hn::Add(high.v[j], term.v[j]);
      const auto part = hn::Sub(sum, high.v[j]);
      const auto error = hn::Add(hn::Sub(high.v[j], hn::Sub(sum, part)), hn::Sub(term.v[j], part));
      high.v[j] = sum;
      // The error of an infinite sum is NaN and means nothing.
      low.v[j] = hn::Add(low.v[j], hn::IfThenElseZero(hn::Eq(error, error), error));
    }
  }
  HWY_INLINE Group<double> Lanes() const {
    Group<double> both;
    for (int j = 0; j < kRegisters<double>; ++j) both.v[j] = hn::Add(high.v[j], low.v[j]);
    return both;
  }
  HWY_INLINE double Total() const { return SumLanes(Lanes()); }
};

template <class C>
HWY_INLINE Group<double> Widen(const Group<C>& group) {
  const Tag<double> dd;
  if constexpr (std::is_same_v<C, double>) {
    return group;
  } else {
    Group<double> wide;
#if HWY_TARGET == HWY_SCALAR
    for (int j = 0; j < kRegisters<C>; ++j) wide.v[j] = hn::PromoteTo(dd, group.v[j]);
#else
    const hn::Half<Tag<C> > half;
    for (int j = 0; j < kRegisters<C>; ++j) {
      wide.v[2 * j] = hn::PromoteTo(dd, hn::LowerHalf(half, group.v[j]));
      wide.v[2 * j + 1] = hn::PromoteTo(dd, hn::UpperHalf(half, group.v[j]));
    }
#endif
    return wide;
  }
}

// Running sums in double that come from floats: 29 spare bits make a plain sum exact enough.
struct WideSum {
  Group<double> total;

  HWY_INLINE WideSum() : total(Fill(0.0)) {}

  template <class C>
  HWY_INLINE void Add(const Group<C>& term) {
    const Group<double> wide = Widen(term);
    for (int j = 0; j < kRegisters<double>; ++j) total.v[j] = hn::Add(total.v[j], wide.v[j]);
  }
  HWY_INLINE const Group<double>& Lanes() const { return total; }
  HWY_INLINE double Total() const { return SumLanes(total); }
};

// Floats are summed in short stretches of groups, so that the conversion to double is paid once per
// stretch. Error of a stretch: at most kStretch - 1 roundings.
constexpr int kStretch = 8;

// Sums over a row in double, by compute type.
template <class C>
using ValueSum = std::conditional_t<std::is_same_v<C, float>, WideSum, Sum64>;

template <class C>
HWY_INLINE C MaxOfLanes(const Group<C>& group) {
  auto top = group.v[0];
  for (int j = 1; j < kRegisters<C>; ++j) top = hn::Max(top, group.v[j]);
  return hn::GetLane(hn::MaxOfLanes(Tag<C>(), top));
}

// Largest element of a row; anything if the row holds a NaN.
template <Real R, class C>
HWY_INLINE C Peak(const void* x, int64_t n) {
  Group<C> a = Fill(-kInfinity<C>);
  Group<C> b = a;
  int64_t k = 0;
  for (; k + 2 * kGroup <= n; k += 2 * kGroup) {
    const Group<C> xa = LoadGroup<R, C>(At<R>(x, k));
    const Group<C> xb = LoadGroup<R, C>(At<R>(x, k + kGroup));
    for (int j = 0; j < kRegisters<C>; ++j) a.v[j] = hn::Max(a.v[j], xa.v[j]);
    for (int j = 0; j < kRegisters<C>; ++j) b.v[j] = hn::Max(b.v[j], xb.v[j]);
  }
  for (; k < n; k += kGroup) {
    const Group<C> xa = LoadGroupAt<R, C>(x, k, n, -kInfinity<C>);
    for (int j = 0; j < kRegisters<C>; ++j) a.v[j] = hn::Max(a.v[j], xa.v[j]);
  }
  for (int j = 0; j < kRegisters<C>; ++j) a.v[j] = hn::Max(a.v[j], b.v[j]);
  return MaxOfLanes(a);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
