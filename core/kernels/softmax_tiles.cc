// Softmax with lanes across positions (inner extent > 1): KernelSet::advance_tiles,
// scale_tile.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax_tiles.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/exponentials-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/tables.h"
#include "core/kernels/tile_traffic-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// One column of groups: kGroup neighbouring positions with all their classes. Sums over classes run
// class by class, stretches of kStretch in float and the rest in double, lane by lane.
template <class C>
struct Column {
  C* e;  // predictions, then exponentials
  int64_t e_stride;
  int64_t classes;
  Stop stop;

  // Whether a loop over the classes goes on at class k.
  HWY_INLINE bool Has(int64_t k) const { return GoesOn(k * kGroup, classes * kGroup, stop); }
};

// A finite stand-in where every logit is -inf.
template <class C>
HWY_INLINE Group<C> References(const Group<C>& peaks) {
  const Tag<C> d;
  Group<C> references;
  for (int j = 0; j < kRegisters<C>; ++j) {
    const auto masked = hn::Eq(peaks.v[j], hn::Set(d, -kInfinity<C>));
    references.v[j] = hn::IfThenZeroElse(masked, peaks.v[j]);
  }
  return references;
}

// RowSums::rest of each lane in double, from the predictions (see ExactRest of the row kernel).
template <Real R>
HWY_NOINLINE Group<double> ExactRests(const void* x, int64_t stride, int64_t classes, int64_t width,
                                      const Group<double>& peaks, Stop stop) {
  const Tag<double> d;
  Sum64 below;
  Group<double> at_peak = Fill(-1.0);
  for (int64_t k = 0; GoesOn(k * kGroup, classes * kGroup, stop); ++k) {
    const auto xs = LoadGroupAt<R, double>(At<R>(x, k * stride), 0, width, 0.0);
    Group<double> es;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto equal = hn::Eq(xs.v[j], peaks.v[j]);
      at_peak.v[j] = hn::Add(at_peak.v[j], hn::IfThenElseZero(equal, hn::Set(d, 1.0)));
      es.v[j] = hn::IfThenZeroElse(equal, ExpOfDifference(xs.v[j], peaks.v[j]));
    }
    below.Add(es);
  }
  Group<double> rests;
  for (int j = 0; j < kRegisters<double>; ++j) {
    rests.v[j] = hn::Add(hn::Add(below.high.v[j], below.low.v[j]), at_peak.v[j]);
  }
  return rests;
}

// The sum of the exponentials below the peak, and the number of those at it, minus one.
struct ColumnSums {
  Group<float> stretch;
  Group<float> at_peak;

  HWY_INLINE ColumnSums() : stretch(Fill(0.0f)), at_peak(Fill(-1.0f)) {}
};

// kCount classes of a float column from e on: their exponentials, which take their places.
template <int kCount>
HWY_INLINE void ReduceClasses(float* e, int64_t e_stride, const Group<float>& references,
                              ColumnSums& sums) {
  const Tag<float> d;
  constexpr int kVectors = kCount * kRegisters<float>;
  Vec<float> es[kVectors];
  hn::Mask<Tag<float>> equal[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const int j = v % kRegisters<float>;
    const float* from = e + v / kRegisters<float> * e_stride + j * kLanes<float>;
    es[v] = hn::Sub(hn::LoadU(d, from), references.v[j]);
    equal[v] = hn::Eq(es[v], hn::Zero(d));
  }
  ScaledExps(es);
  for (int v = 0; v < kVectors; ++v) {
    const int j = v % kRegisters<float>;
    hn::StoreU(es[v], d, e + v / kRegisters<float> * e_stride + j * kLanes<float>);
    // Written such that targets with masked additions take one instruction for each.
    const auto more = hn::Add(sums.stretch.v[j], es[v]);
    const auto one_more = hn::Add(sums.at_peak.v[j], hn::Set(d, 1.0f));
    sums.stretch.v[j] = hn::IfThenElse(equal[v], sums.stretch.v[j], more);
    sums.at_peak.v[j] = hn::IfThenElse(equal[v], one_more, sums.at_peak.v[j]);
  }
}

// Exponentials of a float column into its scratch, and the sums of those below the peak.
HWY_INLINE Group<double> ReduceColumn(const Column<float>& column, const Group<float>& peaks) {
  const Group<float> references = References(peaks);
  WideSum below;
  ColumnSums sums;
  float* e = column.e;
  for (int64_t begin = 0; column.Has(begin); begin += kStretch) {
    const int64_t end = std::min<int64_t>(column.classes, begin + kStretch);
    sums.stretch = Fill(0.0f);
    int64_t k = begin;
    for (; k + kSideBySide <= end; k += kSideBySide, e += kSideBySide * column.e_stride) {
      ReduceClasses<kSideBySide>(e, column.e_stride, references, sums);
    }
    for (; k < end; ++k, e += column.e_stride) {
      ReduceClasses<1>(e, column.e_stride, references, sums);
    }
    below.Add(sums.stretch);
  }
  const Tag<double> dd;
  const Group<double> ties = Widen(sums.at_peak);
  Group<double> rests;
  for (int j = 0; j < kRegisters<double>; ++j) {
    rests.v[j] = hn::MulAdd(below.total.v[j], hn::Set(dd, 0x1p-24), ties.v[j]);
  }
  return rests;
}

HWY_INLINE Group<double> ReduceColumn(const Column<double>& column, const Group<double>& peaks) {
  const Tag<double> d;
  const Group<double> references = References(peaks);
  Sum64 below;
  Group<double> at_peak = Fill(-1.0);
  for (int64_t k = 0; column.Has(k); ++k) {
    const Group<double> xs = LoadScratch(column.e + k * column.e_stride);
    Group<double> es;
    Group<double> counted;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto equal = hn::Eq(xs.v[j], references.v[j]);
      es.v[j] = ExpOfDifference(xs.v[j], references.v[j]);
      counted.v[j] = hn::IfThenZeroElse(equal, es.v[j]);
      at_peak.v[j] = hn::Add(at_peak.v[j], hn::IfThenElseZero(equal, hn::Set(d, 1.0)));
    }
    StoreScratch(es, column.e + k * column.e_stride);
    below.Add(counted);
  }
  Group<double> rests;
  for (int j = 0; j < kRegisters<double>; ++j) {
    rests.v[j] = hn::Add(hn::Add(below.high.v[j], below.low.v[j]), at_peak.v[j]);
  }
  return rests;
}

// The logits at the labels; 0 where there is none.
template <class C>
HWY_INLINE void Pick(const TileReduce& reduce, C* picked) {
  const C* e = static_cast<const C*>(reduce.e);
  for (int64_t i = 0; i < reduce.width; ++i) {
    const int64_t k = std::max(reduce.label[i], 0);
    const C x = e[k * reduce.e_stride + i];
    picked[i] = reduce.label[i] < 0 ? C{0} : x;
  }
}

// e^(x - peak), of ReduceColumn's bits.
HWY_INLINE Group<double> Exponentials(const Group<float>& xs, const Group<float>& peaks) {
  const Group<float> references = References(peaks);
  Group<float> es;
  for (int j = 0; j < kRegisters<float>; ++j) {
    es.v[j] = ScaledExp(hn::Sub(xs.v[j], references.v[j]));
  }
  Group<double> wide = Widen(es);
  for (auto& v : wide.v) v = hn::Mul(v, hn::Set(Tag<double>(), 0x1p-24));
  return wide;
}
HWY_INLINE Group<double> Exponentials(const Group<double>& xs, const Group<double>& peaks) {
  const Group<double> references = References(peaks);
  Group<double> es;
  for (int j = 0; j < kRegisters<double>; ++j) {
    es.v[j] = ExpOfDifference(xs.v[j], references.v[j]);
  }
  return es;
}

template <class C>
HWY_INLINE Group<C> Peaks(const Column<C>& column) {
  Group<C> top = Fill(-kInfinity<C>);
  for (int64_t k = 0; column.Has(k); ++k) {
    const Group<C> xs = LoadScratch(column.e + k * column.e_stride);
    for (int j = 0; j < kRegisters<C>; ++j) top.v[j] = hn::Max(top.v[j], xs.v[j]);
  }
  return top;
}

// Whether any of the first `count` rests is below the threshold (or none, for a threshold below 0).
HWY_INLINE bool NearCertain(const Group<double>& rests, double threshold, int64_t count) {
  const Tag<double> d;
  bool any = false;
  for (int j = 0; j < kRegisters<double>; ++j) {
    const int64_t valid = std::clamp<int64_t>(count - j * kLanes<double>, 0, kLanes<double>);
    const auto below = hn::And(hn::Lt(rests.v[j], hn::Set(d, threshold)),
                               hn::FirstN(d, static_cast<size_t>(valid)));
    any |= !hn::AllFalse(d, below);
  }
  return any;
}

// What TileReduce tells of a column. Whether there is a NaN.
template <Real R, class C>
HWY_INLINE bool FinishColumn(const TileReduce& reduce, int64_t classes, int64_t i,
                             const Group<C>& top, const Group<C>& picked, Stop stop) {
  const Tag<double> d;
  StoreScratch(Widen(picked), reduce.picked + i);
  StoreScratch(Exponentials(picked, top), reduce.picked_exponential + i);
  const Group<double> peaks = Widen(top);
  Group<double> rests = LoadScratch(reduce.rest + i);
  const int64_t count = std::min(kGroup, reduce.width - i);
  const double threshold = std::is_same_v<C, float> ? static_cast<double>(classes) * 6e-7 : -1.0;
  if (HWY_UNLIKELY(NearCertain(rests, threshold, count))) {
    const Group<double> exact =
        ExactRests<R>(At<R>(reduce.x, i), reduce.stride, classes, count, peaks, stop);
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto below = hn::Lt(rests.v[j], hn::Set(d, threshold));
      const auto known = hn::Ge(rests.v[j], hn::Zero(d));
      rests.v[j] = hn::IfThenElse(hn::And(below, known), exact.v[j], rests.v[j]);
    }
  }
  const auto nan = hn::Set(d, std::numeric_limits<double>::quiet_NaN());
  bool any_nan = false;
  for (int j = 0; j < kRegisters<double>; ++j) {
    const int64_t valid = std::clamp<int64_t>(count - j * kLanes<double>, 0, kLanes<double>);
    const auto finite = hn::Lt(hn::Abs(peaks.v[j]), hn::Set(d, kInfinity<double>));
    const auto good = hn::And(finite, hn::Ge(rests.v[j], hn::Zero(d)));
    hn::StoreU(hn::IfThenElse(good, peaks.v[j], nan), d, reduce.peak + i + j * kLanes<double>);
    hn::StoreU(hn::IfThenElse(good, rests.v[j], nan), d, reduce.rest + i + j * kLanes<double>);
    any_nan |= !hn::AllFalse(d, hn::AndNot(good, hn::FirstN(d, static_cast<size_t>(valid))));
  }
  return any_nan;
}

template <Real R, class C, class Scale>
bool AdvanceWith(int64_t classes, const TileLoad& load, const TileReduce& reduce, Scale& scale,
                 Stop stop) {
  LoadBeside<R, C> loading(load, classes, stop);
  alignas(64) C top[kMaxTileWidth];
  alignas(64) C picked[kMaxTileWidth];
  Pick(reduce, picked);
  for (int64_t i = 0; i < reduce.width; i += kGroup) {
    const Column<C> column{.e = static_cast<C*>(reduce.e) + i,
                           .e_stride = reduce.e_stride,
                           .classes = classes,
                           .stop = stop};
    const Group<C> peaks = Peaks(column);
    StoreScratch(peaks, top + i);
    StoreScratch(ReduceColumn(column, peaks), reduce.rest + i);
    loading.Step(classes);
    scale.Step(classes);
  }
  loading.Finish();
  scale.Finish();
  bool any_nan = false;
  for (int64_t i = 0; i < reduce.width; i += kGroup) {
    any_nan |=
        FinishColumn<R, C>(reduce, classes, i, LoadScratch(top + i), LoadScratch(picked + i), stop);
  }
  return any_nan;
}

template <Real R>
bool AdvanceTiles(int64_t classes, const TileLoad& load, const TileReduce& reduce,
                  const TileScale& scale, Stop stop) {
  using C = ComputeOf<R>;
  if constexpr (kCanStream<R, C>) {
    if (scale.width > 0 && StreamsTile<R, C>(scale)) {
      ScaleBeside<R, C, true> streamed(scale, classes, stop);
      const bool any_nan = AdvanceWith<R, C>(classes, load, reduce, streamed, stop);
      hwy::FlushStream();
      return any_nan;
    }
  }
  ScaleBeside<R, C, false> stored(scale, classes, stop);
  return AdvanceWith<R, C>(classes, load, reduce, stored, stop);
}

template <class C, Real R>
void ScaleTile(int64_t classes, const TileScale& scale, Stop stop) {
  if constexpr (kCanStream<R, C>) {
    if (StreamsTile<R, C>(scale)) {
      ScaleBeside<R, C, true> streamed(scale, classes, stop);
      streamed.Finish();
      return hwy::FlushStream();
    }
  }
  ScaleBeside<R, C, false> stored(scale, classes, stop);
  stored.Finish();
}

void FillSoftmaxTiles(KernelSet& set) {
  set.advance_tiles[0] = AdvanceTiles<Real::kF32>;
  set.advance_tiles[1] = AdvanceTiles<Real::kF64>;
  set.advance_tiles[2] = AdvanceTiles<Real::kF16>;
  set.advance_tiles[3] = AdvanceTiles<Real::kBF16>;
  set.scale_tile[0][0] = ScaleTile<float, Real::kF32>;
  set.scale_tile[0][1] = ScaleTile<float, Real::kF64>;
  set.scale_tile[0][2] = ScaleTile<float, Real::kF16>;
  set.scale_tile[0][3] = ScaleTile<float, Real::kBF16>;
  set.scale_tile[1][0] = ScaleTile<double, Real::kF32>;
  set.scale_tile[1][1] = ScaleTile<double, Real::kF64>;
  set.scale_tile[1][2] = ScaleTile<double, Real::kF16>;
  set.scale_tile[1][3] = ScaleTile<double, Real::kBF16>;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillSoftmaxTiles);
void AddSoftmaxTiles(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillSoftmaxTiles)(set); }
}  // namespace lossd::kernels
#endif
