// Phase one of softmax of one float row. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_FLOAT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_FLOAT_ROW_INL_H_
#undef LOSSD_CORE_KERNELS_FLOAT_ROW_INL_H_
#else
#define LOSSD_CORE_KERNELS_FLOAT_ROW_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/kernels/exponentials-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"
#include "core/kernels/reductions-inl.h"
#include "hwy/cache_control.h"

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

// What is done for another row meanwhile: nothing.
struct Nothing {
  HWY_INLINE void BeginChunk(int64_t chunk) {}
  HWY_INLINE void Step() {}
};

// Exponentials of kCount groups from element k of a chunk of n on, added to the sum.
template <Real R, int kCount>
HWY_INLINE void ReduceGroups(const void* x, int64_t k, int64_t n, Vec<float> reference, float* e,
                             Group<float>& sum) {
  constexpr int kVectors = kCount * kRegisters<float>;
  Vec<float> es[kVectors];
  for (int g = 0; g < kCount; ++g) {
    // The next chunk comes from memory while this one is computed.
    hwy::Prefetch(At<R>(x, k + g * kGroup + kChunk));
    const Group<float> xs = LoadGroupAt<R, float>(x, k + g * kGroup, n, -kInfinity<float>);
    for (int j = 0; j < kRegisters<float>; ++j) {
      es[g * kRegisters<float> + j] = hn::Sub(xs.v[j], reference);
    }
  }
  ScaledExps(es);
  for (int v = 0; v < kVectors; ++v) {
    const int j = v % kRegisters<float>;
    sum.v[j] = hn::Add(sum.v[j], es[v]);
    hn::StoreU(es[v], Tag<float>(), e + k + v * kLanes<float>);
  }
}

// Exponentials of at most kStretch groups from element k of a chunk on, and their sum. Between
// stretches another row gets its turn.
template <Real R, class Beside>
HWY_INLINE Group<float> ReduceStretch(const void* x, int64_t k, int64_t end, int64_t n,
                                      Vec<float> reference, float* e, Beside& beside) {
  Group<float> sum = Fill(0.0f);
  for (; k + kSideBySide * kGroup <= end; k += kSideBySide * kGroup) {
    ReduceGroups<R, kSideBySide>(x, k, n, reference, e, sum);
  }
  for (; k < end; k += kGroup) ReduceGroups<R, 1>(x, k, n, reference, e, sum);
  beside.Step();
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

template <Real R, class Beside>
HWY_INLINE ChunkSums ReduceChunk(const void* x, int64_t n, float* e, Beside& beside) {
  ChunkSums sums{.peak = Peak<R, float>(x, n), .below = 0, .at_peak = 0};
  // A chunk of -inf only: any finite reference makes every exponential 0.
  const float finite = sums.peak == -kInfinity<float> ? 0.0f : sums.peak;
  const auto reference = hn::Set(Tag<float>(), finite);
  WideSum below;
  for (int64_t k = 0; k < n; k += kStretch * kGroup) {
    const int64_t end = std::min(n, k + kStretch * kGroup);
    Group<float> sum = ReduceStretch<R>(x, k, end, n, reference, e, beside);
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
HWY_NOINLINE double ExactRest(const void* x, int64_t n, double peak, Stop stop) {
  const Tag<double> d;
  const auto reference = hn::Set(d, peak);
  Sum64 below;
  int64_t at_peak = 0;
  for (int64_t k = 0; GoesOn(k, n, stop); k += kGroup) {
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

// Phase one of a row of n float (or narrower) predictions: see KernelSet::reduce_rows.
template <Real R, class Beside>
HWY_INLINE RowSums ReduceFloatRow(const void* x, int64_t n, float* e, double* chunk_scale,
                                  Beside& beside, Stop stop) {
  const int64_t chunks = Chunks(Compute::kFloat, n);
  // Each chunk relative to its own peak first; chunk_scale holds the peaks meanwhile.
  double peak = 0;
  double below = 0;  // sums of the chunks at the row's peak
  double at_peak = 0;
  double elsewhere = 0;  // sums of the other chunks, peaks included
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = c * kChunk;
    if (HWY_UNLIKELY(!GoesOn(begin, n, stop))) return kNotANumber;
    beside.BeginChunk(c);
    const ChunkSums sums =
        ReduceChunk<R>(At<R>(x, begin), std::min(n - begin, kChunk), e + begin, beside);
    chunk_scale[c] = sums.peak;
    if (c == 0) {
      peak = sums.peak;
      below = sums.below;
      at_peak = static_cast<double>(sums.at_peak);
    } else if (sums.peak > peak) {
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
  if (rest < ExactRestThreshold(n)) rest = ExactRest<R>(x, n, peak, stop);
  return {peak, rest};
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
