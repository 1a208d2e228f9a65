// Softmax of contiguous rows: KernelSet::reduce_rows, scale_rows, scale_rows_minus, dense_sums,
// mass.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax_rows.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/exponentials-inl.h"
#include "core/kernels/float_row-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

HWY_INLINE RowSums ReduceDoubleRow(const void* x, int64_t n, double* e, double* chunk_scale,
                                   Stop stop) {
  const Tag<double> d;
  chunk_scale[0] = 1;
  double peak = -kInfinity<double>;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kPollElements) {
    const int64_t part = std::min(n - k, kPollElements);
    peak = std::max(peak, Peak<Real::kF64, double>(At<Real::kF64>(x, k), part));
  }
  const auto reference = hn::Set(d, std::isinf(peak) ? 0.0 : peak);
  Sum64 below;
  int64_t at_peak = 0;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kGroup) {
    const auto xs = LoadGroupAt<Real::kF64, double>(x, k, n, -kInfinity<double>);
    Group<double> es;
    Group<double> counted;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto equal = hn::Eq(xs.v[j], reference);
      at_peak += static_cast<int64_t>(hn::CountTrue(d, equal));
      es.v[j] = ExpOfDifference(xs.v[j], reference);
      counted.v[j] = hn::IfThenZeroElse(equal, es.v[j]);
    }
    StoreScratch(es, e + k);
    below.Add(counted);
  }
  const double rest = below.Total() + static_cast<double>(at_peak - 1);
  if (!(rest >= 0) || std::isinf(peak)) return kNotANumber;
  return {peak, rest};
}

template <Real R>
void ReduceRows(const void* x, int64_t rows, int64_t classes, void* e, double* chunk_scale,
                double* peak, double* rest, Stop stop) {
  using C = ComputeOf<R>;
  C* scratch = static_cast<C*>(e);
  constexpr Compute kCompute = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;
  const int64_t chunks = Chunks(kCompute, classes);
  for (int64_t r = 0; r < rows; ++r) {
    const void* row = At<R>(x, r * classes);
    RowSums sums;
    if constexpr (std::is_same_v<C, float>) {
      Nothing beside;
      sums = ReduceFloatRow<R>(row, classes, scratch + r * classes, chunk_scale + r * chunks,
                               beside, stop);
    } else {
      sums = ReduceDoubleRow(row, classes, scratch + r * classes, chunk_scale + r * chunks, stop);
    }
    peak[r] = sums.peak;
    rest[r] = sums.rest;
  }
}

// Calls body(row, begin, end, factor) for stretches of rows that have one factor each.
template <class C, class Body>
HWY_INLINE void ForEachChunk(const C* factor, int64_t rows, int64_t classes, Stop stop, Body body) {
  const bool is_float = std::is_same_v<C, float>;
  const int64_t chunk = is_float ? kChunk : kPollElements;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; GoesOn(k, classes, stop); k += chunk) {
      body(r, k, std::min(classes, k + chunk), is_float ? factor[k / kChunk] : *factor);
    }
    factor += is_float ? Chunks(Compute::kFloat, classes) : 1;
  }
}

template <class C, Real R>
void ScaleRows(const void* e, const void* factor, int64_t rows, int64_t classes, bool streaming,
               void* out, Stop stop) {
  const Tag<C> d;
  ForEachChunk(static_cast<const C*>(factor), rows, classes, stop,
               [&](int64_t r, int64_t begin, int64_t end, C scale) HWY_ATTR {
                 const C* scratch = static_cast<const C*>(e) + r * classes;
                 const auto s = hn::Set(d, scale);
                 StoreRow<R, C>(At<R>(out, r * classes), begin, end, streaming,
                                [&](int64_t k) HWY_ATTR {
                                  Group<C> g = ScaleGroup(LoadScratch(scratch + k), s);
                                  // Of pick losses, which are in double, a row may hold any NaN;
                                  // exponentials hold none.
                                  if constexpr (std::is_same_v<C, double>) {
                                    for (auto& v : g.v) v = OneNaN<C>(v);
                                  }
                                  return g;
                                });
               });
  if (streaming) hwy::FlushStream();
}

template <class C, Real R>
void ScaleRowsMinus(const void* e, const void* factor, const void* c, const void* minus,
                    int64_t rows, int64_t classes, bool streaming, void* out, Stop stop) {
  const Tag<C> d;
  ForEachChunk(static_cast<const C*>(factor), rows, classes, stop,
               [&](int64_t r, int64_t begin, int64_t end, C scale) HWY_ATTR {
                 const C* scratch = static_cast<const C*>(e) + r * classes;
                 const C* targets = static_cast<const C*>(c) + r * classes;
                 const auto s = hn::Set(d, scale);
                 const auto m = hn::Set(d, static_cast<const C*>(minus)[r]);
                 StoreRow<R, C>(
                     At<R>(out, r * classes), begin, end, streaming, [&](int64_t k) HWY_ATTR {
                       Group<C> g = LoadScratch(scratch + k);
                       const Group<C> t = LoadGroupAt<kOwnFormat<C>, C>(targets, k, end, C{0});
                       for (int j = 0; j < kRegisters<C>; ++j) {
                         const auto target = hn::NegMulAdd(t.v[j], m, hn::Zero(d));
                         g.v[j] = OneNaN<C>(hn::Add(hn::MulAdd(g.v[j], s, target), hn::Zero(d)));
                       }
                       return g;
                     });
               });
  if (streaming) hwy::FlushStream();
}

template <Real R>
DenseSums SumDense(const void* x, const void* c, int64_t n, RowSums row, double log1p_rest,
                   double cap, Stop stop) {
  using C = ComputeOf<R>;
  const Tag<double> d;
  const bool capped = cap != std::numeric_limits<double>::infinity();
  const auto peak = hn::Set(d, row.peak);
  const auto offset = hn::Set(d, capped ? log1p_rest : 0.0);
  const auto ceiling = hn::Set(d, cap);
  ValueSum<C> loss;
  ValueSum<C> mass;
  size_t cut = 0;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kGroup) {
    const auto xs = LoadGroupAt<R, double>(x, k, n, 0.0);
    const auto cs = LoadGroupAt<kOwnFormat<C>, double>(c, k, n, 0.0);
    Group<double> terms;
    for (int j = 0; j < kRegisters<double>; ++j) {
      auto distance = hn::Add(hn::Sub(peak, xs.v[j]), offset);
      const auto unused = hn::Eq(cs.v[j], hn::Zero(d));
      const auto over = hn::Gt(distance, ceiling);
      cut += hn::CountTrue(d, hn::AndNot(unused, over));
      distance = hn::IfThenElse(over, ceiling, distance);
      terms.v[j] = hn::IfThenZeroElse(unused, hn::Mul(cs.v[j], distance));
    }
    loss.Add(terms);
    mass.Add(cs);
  }
  return {loss.Total(), mass.Total(), cut > 0};
}

template <class C>
double Mass(const void* c, int64_t n, Stop stop) {
  ValueSum<C> mass;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kGroup) {
    mass.Add(LoadGroupAt<kOwnFormat<C>, C>(c, k, n, C{0}));
  }
  return mass.Total();
}

void FillSoftmaxRows(KernelSet& set) {
  set.reduce_rows[0] = ReduceRows<Real::kF32>;
  set.reduce_rows[1] = ReduceRows<Real::kF64>;
  set.reduce_rows[2] = ReduceRows<Real::kF16>;
  set.reduce_rows[3] = ReduceRows<Real::kBF16>;
  set.scale_rows[0][0] = ScaleRows<float, Real::kF32>;
  set.scale_rows[0][1] = ScaleRows<float, Real::kF64>;
  set.scale_rows[0][2] = ScaleRows<float, Real::kF16>;
  set.scale_rows[0][3] = ScaleRows<float, Real::kBF16>;
  set.scale_rows[1][0] = ScaleRows<double, Real::kF32>;
  set.scale_rows[1][1] = ScaleRows<double, Real::kF64>;
  set.scale_rows[1][2] = ScaleRows<double, Real::kF16>;
  set.scale_rows[1][3] = ScaleRows<double, Real::kBF16>;
  set.scale_rows_minus[0][0] = ScaleRowsMinus<float, Real::kF32>;
  set.scale_rows_minus[0][1] = ScaleRowsMinus<float, Real::kF64>;
  set.scale_rows_minus[0][2] = ScaleRowsMinus<float, Real::kF16>;
  set.scale_rows_minus[0][3] = ScaleRowsMinus<float, Real::kBF16>;
  set.scale_rows_minus[1][0] = ScaleRowsMinus<double, Real::kF32>;
  set.scale_rows_minus[1][1] = ScaleRowsMinus<double, Real::kF64>;
  set.scale_rows_minus[1][2] = ScaleRowsMinus<double, Real::kF16>;
  set.scale_rows_minus[1][3] = ScaleRowsMinus<double, Real::kBF16>;
  set.dense_sums[0] = SumDense<Real::kF32>;
  set.dense_sums[1] = SumDense<Real::kF64>;
  set.dense_sums[2] = SumDense<Real::kF16>;
  set.dense_sums[3] = SumDense<Real::kBF16>;
  set.mass[0] = Mass<float>;
  set.mass[1] = Mass<double>;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillSoftmaxRows);
void AddSoftmaxRows(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillSoftmaxRows)(set); }
}  // namespace lossd::kernels
#endif
