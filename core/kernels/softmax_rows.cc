// Softmax of contiguous rows: KernelSet::reduce_rows, scale_rows, scale_rows_minus, dense_sums,
// mass.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax_rows.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/group-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// A chunk of a float row relative to its own peak, in units of 2^-24: the sum of the exponentials
// of all elements below the peak, and the number of elements at the peak.
struct ChunkSums {
  float peak;
  double below;
  int64_t at_peak;
};

// Exponentials of at most kStretch groups from element k of a chunk on, and their sum.
template <Real R>
HWY_INLINE Group<float> ReduceStretch(const void* x, int64_t k, int64_t end, int64_t n,
                                      Vec<float> reference, float* e) {
  Group<float> sum = Fill(0.0f);
  for (; k < end; k += kGroup) {
    // The next chunk comes from memory while this one is computed.
    hwy::Prefetch(At<R>(x, k + kChunk));
    Group<float> es = LoadGroupAt<R, float>(x, k, n, -kInfinity<float>);
    for (int j = 0; j < kRegisters<float>; ++j) {
      es.v[j] = ScaledExp(hn::Sub(es.v[j], reference));
      sum.v[j] = hn::Add(sum.v[j], es.v[j]);
    }
    StoreScratch(es, e + k);
  }
  return sum;
}

// Whether elements at the peak, whose exponential is 2^24, may be in a sum.
HWY_INLINE bool MayHoldPeak(const Group<float>& sum) {
  const Tag<float> d;
  auto top = sum.v[0];
  for (int j = 1; j < kRegisters<float>; ++j) top = hn::Max(top, sum.v[j]);
  return !hn::AllFalse(d, hn::Ge(top, hn::Set(d, 0x1p24f)));
}

// The sum of a stretch again, without the elements at the peak, which are counted.
template <Real R>
HWY_NOINLINE Group<float> SumBelowPeak(const void* x, int64_t k, int64_t end, int64_t n,
                                       float reference, const float* e, int64_t& at_peak) {
  const Tag<float> d;
  Group<float> sum = Fill(0.0f);
  for (; k < end; k += kGroup) {
    const Group<float> xs = LoadGroupAt<R, float>(x, k, n, -kInfinity<float>);
    const Group<float> es = LoadScratch(e + k);
    for (int j = 0; j < kRegisters<float>; ++j) {
      const auto equal = hn::Eq(xs.v[j], hn::Set(d, reference));
      at_peak += static_cast<int64_t>(hn::CountTrue(d, equal));
      sum.v[j] = hn::Add(sum.v[j], hn::IfThenZeroElse(equal, es.v[j]));
    }
  }
  return sum;
}

template <Real R>
HWY_INLINE ChunkSums ReduceChunk(const void* x, int64_t n, float* e) {
  ChunkSums sums{.peak = Peak<R, float>(x, n), .below = 0, .at_peak = 0};
  // A chunk of -inf only: any finite reference makes every exponential 0.
  const float finite = sums.peak == -kInfinity<float> ? 0.0f : sums.peak;
  const auto reference = hn::Set(Tag<float>(), finite);
  WideSum below;
  for (int64_t k = 0; k < n; k += kStretch * kGroup) {
    const int64_t end = std::min(n, k + kStretch * kGroup);
    Group<float> sum = ReduceStretch<R>(x, k, end, n, reference, e);
    if (HWY_UNLIKELY(MayHoldPeak(sum))) {
      sum = SumBelowPeak<R>(x, k, end, n, finite, e, sums.at_peak);
    }
    below.Add(sum);
  }
  sums.below = below.Total();
  return sums;
}

// RowSums::rest in double from the predictions themselves, for a row of which the peak holds almost
// everything: there the rounding of float differences (half a unit in the last place of x - peak)
// would show in the relative error.
template <Real R>
HWY_NOINLINE double ExactRest(const void* x, int64_t n, double peak) {
  const Tag<double> d;
  const auto reference = hn::Set(d, peak);
  Sum64 below;
  int64_t at_peak = 0;
  for (int64_t k = 0; k < n; k += kGroup) {
    const Group<double> xs = LoadGroupAt<R, double>(x, k, n, -kInfinity<double>);
    Group<double> es;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto equal = hn::Eq(xs.v[j], reference);
      at_peak += static_cast<int64_t>(hn::CountTrue(d, equal));
      es.v[j] = hn::IfThenZeroElse(equal, ExpOfDifference(xs.v[j], reference));
    }
    below.Add(es);
  }
  return below.Total() + static_cast<double>(at_peak - 1);
}

// Below this share of the peak, `rest` is computed again in double. Differences under 16 are
// rounded by at most 8 u; the others add at most C * 16 * e^-16 * u to the absolute error, which at
// this threshold is 3 u of `rest`.
HWY_INLINE double ExactRestThreshold(int64_t classes) {
  return static_cast<double>(classes) * 6e-7;
}

constexpr RowSums kNotANumber = {std::numeric_limits<double>::quiet_NaN(),
                                 std::numeric_limits<double>::quiet_NaN()};

template <Real R>
HWY_INLINE RowSums ReduceFloatRow(const void* x, int64_t n, float* e, double* chunk_scale) {
  const int64_t chunks = Chunks(Compute::kFloat, n);
  // Each chunk relative to its own peak first; chunk_scale holds the peaks meanwhile.
  const ChunkSums first = ReduceChunk<R>(x, std::min(n, kChunk), e);
  double peak = first.peak;
  double below = first.below;  // sums of the chunks at the row's peak
  double at_peak = first.at_peak;
  double elsewhere = 0;  // sums of the other chunks, peaks included
  chunk_scale[0] = peak;
  for (int64_t c = 1; c < chunks; ++c) {
    const int64_t begin = c * kChunk;
    const ChunkSums sums = ReduceChunk<R>(At<R>(x, begin), std::min(n - begin, kChunk), e + begin);
    chunk_scale[c] = sums.peak;
    if (sums.peak > peak) {
      const double shrink = std::isinf(peak) ? 0.0 : ExpScalar(peak - sums.peak);
      elsewhere = (elsewhere + below + at_peak * 0x1p24) * shrink;
      peak = sums.peak;
      below = sums.below;
      at_peak = static_cast<double>(sums.at_peak);
    } else if (sums.peak == peak) {
      below += sums.below;
      at_peak += static_cast<double>(sums.at_peak);
    } else {
      const double shrink = std::isinf(sums.peak) ? 0.0 : ExpScalar(sums.peak - peak);
      const double whole = sums.below + static_cast<double>(sums.at_peak) * 0x1p24;
      elsewhere += std::isnan(sums.peak) ? kNotANumber.rest : whole * shrink;
    }
  }
  for (int64_t c = 0; c < chunks; ++c) {
    const double distance = chunk_scale[c] - peak;
    chunk_scale[c] = distance == 0 ? 1.0 : ExpScalar(distance);
  }
  double rest = (elsewhere + below) * 0x1p-24 + (at_peak - 1);
  if (!(rest >= 0) || std::isinf(peak)) return kNotANumber;
  if (rest < ExactRestThreshold(n)) rest = ExactRest<R>(x, n, peak);
  return {peak, rest};
}

HWY_INLINE RowSums ReduceDoubleRow(const void* x, int64_t n, double* e, double* chunk_scale) {
  const Tag<double> d;
  chunk_scale[0] = 1;
  const double peak = Peak<Real::kF64, double>(x, n);
  const auto reference = hn::Set(d, std::isinf(peak) ? 0.0 : peak);
  Sum64 below;
  int64_t at_peak = 0;
  for (int64_t k = 0; k < n; k += kGroup) {
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
                RowSums* sums) {
  using C = ComputeOf<R>;
  C* scratch = static_cast<C*>(e);
  constexpr Compute kCompute = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;
  const int64_t chunks = Chunks(kCompute, classes);
  for (int64_t r = 0; r < rows; ++r) {
    const void* row = At<R>(x, r * classes);
    if constexpr (std::is_same_v<C, float>) {
      sums[r] = ReduceFloatRow<R>(row, classes, scratch + r * classes, chunk_scale + r * chunks);
    } else {
      sums[r] = ReduceDoubleRow(row, classes, scratch + r * classes, chunk_scale + r * chunks);
    }
  }
}

// Calls body(row, k, n, factor) for each stretch of a row that has one factor.
template <class C, class Body>
HWY_INLINE void ForEachChunk(const C* factor, int64_t rows, int64_t classes, Body body) {
  const bool is_float = std::is_same_v<C, float>;
  const int64_t chunk = is_float ? kChunk : classes;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < classes; k += chunk) {
      body(r, k, std::min(classes, k + chunk), *factor++);
    }
  }
}

template <class C, Real R>
void ScaleRows(const void* e, const void* factor, int64_t rows, int64_t classes, bool streaming,
               void* out) {
  const Tag<C> d;
  ForEachChunk(static_cast<const C*>(factor), rows, classes,
               [&](int64_t r, int64_t begin, int64_t end, C scale) HWY_ATTR {
                 const C* scratch = static_cast<const C*>(e) + r * classes;
                 const auto s = hn::Set(d, scale);
                 StoreRow<R, C>(At<R>(out, r * classes), begin, end, streaming,
                                [&](int64_t k) HWY_ATTR {
                                  Group<C> g = LoadScratch(scratch + k);
                                  // Adding +0 turns -0 (a masked class under a negative factor)
                                  // into +0.
                                  for (auto& v : g.v) v = hn::MulAdd(v, s, hn::Zero(d));
                                  return g;
                                });
               });
  if (streaming) hwy::FlushStream();
}

template <class C, Real R>
void ScaleRowsMinus(const void* e, const void* factor, const void* c, const void* minus,
                    int64_t rows, int64_t classes, bool streaming, void* out) {
  const Tag<C> d;
  ForEachChunk(static_cast<const C*>(factor), rows, classes,
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
                         g.v[j] = hn::Add(hn::MulAdd(g.v[j], s, target), hn::Zero(d));
                       }
                       return g;
                     });
               });
  if (streaming) hwy::FlushStream();
}

template <Real R>
DenseSums SumDense(const void* x, const void* c, int64_t n, RowSums row, double log1p_rest,
                   double cap) {
  using C = ComputeOf<R>;
  const Tag<double> d;
  const bool capped = cap != std::numeric_limits<double>::infinity();
  const auto peak = hn::Set(d, row.peak);
  const auto offset = hn::Set(d, capped ? log1p_rest : 0.0);
  const auto ceiling = hn::Set(d, cap);
  ValueSum<C> loss;
  ValueSum<C> mass;
  size_t cut = 0;
  for (int64_t k = 0; k < n; k += kGroup) {
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
double Mass(const void* c, int64_t n) {
  ValueSum<C> mass;
  for (int64_t k = 0; k < n; k += kGroup) mass.Add(LoadGroupAt<kOwnFormat<C>, C>(c, k, n, C{0}));
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
