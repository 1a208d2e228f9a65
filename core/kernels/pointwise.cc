// Element by element: dense rows of the multinomial logistic and nll losses, logarithms, widening.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/pointwise.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/group-inl.h"
#include "core/kernels/logarithms-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

template <class Body>
HWY_INLINE void MapArray(const double* x, int64_t count, double* out, Body body) {
  for (int64_t i = 0; i < count; i += kGroup) {
    Group<double> xs = LoadGroupAt<Real::kF64, double>(x, i, count, 1.0);
    for (auto& v : xs.v) v = body(v);
    StoreGroupAt<Real::kF64, double>(xs, out, i, count);
  }
}

void LogArray(const double* x, int64_t count, double* out) {
  MapArray(x, count, out, [](Vec<double> v) HWY_ATTR { return Log64(v); });
}
void Log1pArray(const double* x, int64_t count, double* out) {
  MapArray(x, count, out, [](Vec<double> v) HWY_ATTR { return Log1p64(v); });
}

template <Real R>
PointwiseSums LogisticRow(const void* x, const double* c, int64_t n, double epsilon, double* g,
                          Stop stop) {
  const Tag<double> d;
  const auto floor = hn::Set(d, epsilon);
  Sum64 loss;
  size_t clamped = 0;
  size_t bad = 0;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kGroup) {
    const auto xs = LoadGroupAt<R, double>(x, k, n, 1.0);
    const auto cs = LoadGroupAt<Real::kF64, double>(c, k, n, 0.0);
    Group<double> terms;
    Group<double> gs;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto unused = hn::Eq(cs.v[j], hn::Zero(d));
      const auto under = hn::Lt(xs.v[j], floor);
      const auto finite = hn::Lt(xs.v[j], hn::Set(d, kInfinity<double>));
      // Also for -0 at epsilon 0; NaN stays.
      const auto value = hn::IfThenElse(hn::Le(xs.v[j], floor), floor, xs.v[j]);
      clamped += hn::CountTrue(d, hn::AndNot(unused, under));
      bad += hn::CountTrue(d, hn::Not(hn::Or(unused, finite)));
      terms.v[j] = hn::IfThenZeroElse(unused, hn::Neg(hn::Mul(cs.v[j], Log64(value))));
      gs.v[j] = hn::IfThenZeroElse(unused, hn::Neg(hn::Div(cs.v[j], value)));
    }
    loss.Add(terms);
    StoreScratch(gs, g + k);
  }
  return {loss.Total(), clamped > 0, bad > 0};
}

template <Real R>
PointwiseSums NllRow(const void* x, const double* c, int64_t n, double* g, Stop stop) {
  const Tag<double> d;
  Sum64 loss;
  size_t bad = 0;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kGroup) {
    const auto xs = LoadGroupAt<R, double>(x, k, n, 0.0);
    const auto cs = LoadGroupAt<Real::kF64, double>(c, k, n, 0.0);
    Group<double> terms;
    Group<double> gs;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto unused = hn::Eq(cs.v[j], hn::Zero(d));
      const auto finite = hn::Lt(xs.v[j], hn::Set(d, kInfinity<double>));
      bad += hn::CountTrue(d, hn::Not(hn::Or(unused, finite)));
      terms.v[j] = hn::IfThenZeroElse(unused, hn::Neg(hn::Mul(cs.v[j], xs.v[j])));
      gs.v[j] = hn::IfThenZeroElse(unused, hn::Neg(cs.v[j]));
    }
    loss.Add(terms);
    StoreScratch(gs, g + k);
  }
  return {loss.Total(), false, bad > 0};
}

template <class C, Real R>
void WidenArray(const void* x, int64_t count, void* out) {
  for (int64_t i = 0; i < count; i += kGroup) {
    StoreGroupAt<kOwnFormat<C>, C>(LoadGroupAt<R, C>(x, i, count, C{0}), out, i, count);
  }
}

void FillPointwise(KernelSet& set) {
  set.logistic_row[0] = LogisticRow<Real::kF32>;
  set.logistic_row[1] = LogisticRow<Real::kF64>;
  set.logistic_row[2] = LogisticRow<Real::kF16>;
  set.logistic_row[3] = LogisticRow<Real::kBF16>;
  set.nll_row[0] = NllRow<Real::kF32>;
  set.nll_row[1] = NllRow<Real::kF64>;
  set.nll_row[2] = NllRow<Real::kF16>;
  set.nll_row[3] = NllRow<Real::kBF16>;
  set.widen[0][0] = WidenArray<float, Real::kF32>;
  set.widen[0][1] = WidenArray<float, Real::kF64>;
  set.widen[0][2] = WidenArray<float, Real::kF16>;
  set.widen[0][3] = WidenArray<float, Real::kBF16>;
  set.widen[1][0] = WidenArray<double, Real::kF32>;
  set.widen[1][1] = WidenArray<double, Real::kF64>;
  set.widen[1][2] = WidenArray<double, Real::kF16>;
  set.widen[1][3] = WidenArray<double, Real::kBF16>;
  set.log = LogArray;
  set.log1p = Log1pArray;
  set.name = hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillPointwise);
void AddPointwise(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillPointwise)(set); }
}  // namespace lossd::kernels
#endif
