// Softmax of rows so short that one group holds a whole row. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_SMALL_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_SMALL_ROWS_INL_H_
#undef LOSSD_CORE_KERNELS_SMALL_ROWS_INL_H_
#else
#define LOSSD_CORE_KERNELS_SMALL_ROWS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/kernels/exponentials-inl.h"
#include "core/kernels/float_row-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"
#include "core/kernels/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// to[k * to_stride + r] = from[r * from_stride + k] for r, k < 4.
HWY_INLINE void TurnAround(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t k = 0; k < 4; ++k) {
    for (int64_t r = 0; r < 4; ++r) to[k * to_stride + r] = from[r * from_stride + k];
  }
#else
  const hn::FixedTag<float, 4> d;
  const auto row0 = hn::LoadU(d, from);
  const auto row1 = hn::LoadU(d, from + from_stride);
  const auto row2 = hn::LoadU(d, from + 2 * from_stride);
  const auto row3 = hn::LoadU(d, from + 3 * from_stride);
  const auto low01 = hn::InterleaveLower(d, row0, row1);
  const auto high01 = hn::InterleaveUpper(d, row0, row1);
  const auto low23 = hn::InterleaveLower(d, row2, row3);
  const auto high23 = hn::InterleaveUpper(d, row2, row3);
  // One after the other: where a stride is below 4, each covers what the one before wrote too far.
  hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, to + to_stride);
  hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * to_stride);
  hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * to_stride);
#endif
}

// Up to kGroup rows of at most kGroup classes, turned around: lane r of class k is element k of row
// r. A row alone would wait for sums across its lanes; here they are sums of registers, in the same
// order, so the bits are those of ReduceFloatRow.
struct SmallRows {
  static constexpr int64_t kElements = kGroup * kGroup;

  alignas(64) float flat[kElements + kGroup];  // as rows lie
  alignas(64) float lanes[kElements];          // [class][row]: predictions, then exponentials
  alignas(64) float peak[kGroup];
  alignas(64) double rest[kGroup];
  int64_t classes;
  int64_t rows;

  HWY_INLINE SmallRows(int64_t classes, int64_t rows) : classes(classes), rows(rows) {}

  template <Real R>
  HWY_INLINE void Load(const void* x) {
    const int64_t count = rows * classes;
    for (int64_t i = 0; i < count; i += kGroup) {
      StoreScratch(LoadGroupAt<R, float>(x, i, count, 0.0f), flat + i);
    }
    // What lies behind the rows is computed along with them, and means nothing.
    for (int64_t i = count; i < kGroup * classes + kGroup; i += kGroup) {
      StoreGroupAt<Real::kF32, float>(Fill(0.0f), flat, i, kElements + kGroup);
    }
    for (int64_t r = 0; r < kGroup; r += 4) {
      for (int64_t k = 0; k < classes; k += 4) {
        TurnAround(flat + r * classes + k, classes, lanes + k * kGroup + r, kGroup);
      }
    }
  }

  // The exponentials, peaks and rests.
  HWY_INLINE void Reduce() {
    const Tag<float> d;
    Group<float> top = Fill(-kInfinity<float>);
    for (int64_t k = 0; k < classes; ++k) {
      const Group<float> xs = LoadScratch(lanes + k * kGroup);
      for (int j = 0; j < kRegisters<float>; ++j) top.v[j] = hn::Max(top.v[j], xs.v[j]);
    }
    StoreScratch(top, peak);
    Group<float> references;
    for (int j = 0; j < kRegisters<float>; ++j) {
      const auto masked = hn::Eq(top.v[j], hn::Set(d, -kInfinity<float>));
      references.v[j] = hn::IfThenZeroElse(masked, top.v[j]);
    }
    Group<float> at_peak = Fill(-1.0f);
    alignas(64) float below[kGroup * kGroup];
    for (int64_t k = 0; k < classes; ++k) ReduceClass(k, references, below, at_peak);
    for (int64_t k = classes; k < kGroup; ++k) StoreScratch(Fill(0.0f), below + k * kGroup);
    FinishRests(SumClasses(below), at_peak);
  }

  template <Real R>
  HWY_INLINE void MendRests(const void* x) {
    for (int64_t r = 0; r < rows; ++r) {
      if (HWY_UNLIKELY(rest[r] < ExactRestThreshold(classes))) {
        rest[r] = ExactRest<R>(At<R>(x, r * classes), classes, peak[r], /*stop=*/nullptr);
      }
    }
  }

  // e * factor of each row, as rows lie.
  HWY_INLINE void Scale(const float* factor) {
    const Group<float> factors = LoadScratch(factor);
    for (int64_t k = 0; k < classes; ++k) {
      Group<float> es = LoadScratch(lanes + k * kGroup);
      for (int j = 0; j < kRegisters<float>; ++j) {
        es.v[j] = Product<float>(es.v[j], factors.v[j]);
      }
      StoreScratch(es, lanes + k * kGroup);
    }
    // The last classes first: what they write too far is the next row's, which comes later.
    for (int64_t r = 0; r < kGroup; r += 4) {
      for (int64_t k = (classes - 1) / 4 * 4; k >= 0; k -= 4) {
        TurnAround(lanes + k * kGroup + r, kGroup, flat + r * classes + k, classes);
      }
    }
  }

 private:
  HWY_INLINE void ReduceClass(int64_t k, const Group<float>& references, float* below,
                              Group<float>& at_peak) {
    const Tag<float> d;
    const Group<float> xs = LoadScratch(lanes + k * kGroup);
    Vec<float> es[kRegisters<float>];
    for (int j = 0; j < kRegisters<float>; ++j) es[j] = hn::Sub(xs.v[j], references.v[j]);
    ScaledExps(es);
    for (int j = 0; j < kRegisters<float>; ++j) {
      const auto equal = hn::Eq(xs.v[j], references.v[j]);
      hn::Store(es[j], d, lanes + k * kGroup + j * kLanes<float>);
      hn::Store(hn::IfThenZeroElse(equal, es[j]), d, below + k * kGroup + j * kLanes<float>);
      at_peak.v[j] = hn::Add(at_peak.v[j], hn::IfThenElseZero(equal, hn::Set(d, 1.0f)));
    }
  }

  // The tree of SumLanes.
  static HWY_INLINE Group<double> SumClasses(const float* below) {
    const auto wide = [&](int k) HWY_ATTR { return Widen(LoadScratch(below + k * kGroup)); };
    const auto add = [](const Group<double>& a, const Group<double>& b) HWY_ATTR {
      Group<double> sum;
      for (int j = 0; j < kRegisters<double>; ++j) sum.v[j] = hn::Add(a.v[j], b.v[j]);
      return sum;
    };
    Group<double> quarter[4];
    for (int i = 0; i < 4; ++i) {
      quarter[i] = add(add(wide(i), wide(i + 8)), add(wide(i + 4), wide(i + 12)));
    }
    return add(add(quarter[0], quarter[2]), add(quarter[1], quarter[3]));
  }

  HWY_INLINE void FinishRests(const Group<double>& below, const Group<float>& at_peak) {
    const Tag<double> d;
    const Group<double> peaks = Widen(LoadScratch(peak));
    const Group<double> ties = Widen(at_peak);
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto sum = hn::Add(hn::Mul(below.v[j], hn::Set(d, 0x1p-24)), ties.v[j]);
      const auto finite = hn::Lt(hn::Abs(peaks.v[j]), hn::Set(d, kInfinity<double>));
      const auto good = hn::And(finite, hn::Ge(sum, hn::Zero(d)));
      const auto nan = hn::Set(d, kNotANumber.rest);
      hn::Store(hn::IfThenElse(good, sum, nan), d, rest + j * kLanes<double>);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
