// Softmax with lanes across positions (inner extent > 1): KernelSet::reduce_tile, scale_tile,
// fused_tile.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax_tiles.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/exponentials-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/labelled-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/softmax_head-inl.h"
#include "core/kernels/tables.h"
#include "core/kernels/tile_reduce-inl.h"
#include "core/kernels/tile_stages-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

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

// What belongs to the positions of a block.
template <class C>
struct BlockValues {
  alignas(64) C top[kTileBlock];
  alignas(64) C reference[kTileBlock];  // top, but finite where every logit is -inf
  alignas(64) double rest[kTileBlock];
  alignas(64) C picked[kTileBlock];  // the logit at the label; 0 where there is none
  // e^(x - top) there, of ReduceStage's bits.
  alignas(64) double picked_exponential[kTileBlock];
  alignas(64) C factor[kTileBlock];
  alignas(64) C label_value[kTileBlock];
};

template <class C, class Load>
HWY_INLINE void TakePeaks(const Load& load, BlockValues<C>& values) {
  for (int64_t c = 0; c < kColumns; ++c) {
    StoreScratch(load.top(c), values.top + c * kGroup);
    StoreScratch(References(load.top(c)), values.reference + c * kGroup);
  }
}

template <class C>
HWY_INLINE void Pick(const C* HWY_RESTRICT block, const int32_t* HWY_RESTRICT label, int64_t width,
                     BlockValues<C>& values) {
  C* HWY_RESTRICT picked = values.picked;
  const int64_t count = std::min(width, kTileBlock);
  for (int64_t i = count; i < kTileBlock; ++i) picked[i] = C{0};
  for (int64_t i = 0; i < count; ++i) {
    const C x = block[std::max(label[i], 0) * kTileBlock + i];
    picked[i] = label[i] < 0 ? C{0} : x;
  }
}

HWY_INLINE void PickExponentials(BlockValues<float>& values) {
  const Tag<float> d;
  constexpr int kCount = 4;
  for (int64_t i = 0; i < kTileBlock; i += kCount * kLanes<float>) {
    Vec<float> es[kCount];
    for (int v = 0; v < kCount; ++v) {
      const int64_t at = i + v * kLanes<float>;
      es[v] = hn::Sub(hn::Load(d, values.picked + at), hn::Load(d, values.reference + at));
    }
    ScaledExps(es);
    for (int v = 0; v < kCount; ++v) hn::Store(es[v], d, values.factor + i + v * kLanes<float>);
  }
  for (int64_t i = 0; i < kTileBlock; i += kGroup) {
    Group<double> wide = Widen(LoadScratch(values.factor + i));
    for (auto& v : wide.v) v = hn::Mul(v, hn::Set(Tag<double>(), 0x1p-24));
    StoreScratch(wide, values.picked_exponential + i);
  }
}
HWY_INLINE void PickExponentials(BlockValues<double>& values) {
  const Tag<double> d;
  for (int64_t i = 0; i < kTileBlock; i += kLanes<double>) {
    const auto x = hn::Load(d, values.picked + i);
    const auto e = ExpOfDifference(x, hn::Load(d, values.reference + i));
    hn::Store(e, d, values.picked_exponential + i);
  }
}

// Where an approximate rest is not exact enough: below this (or nowhere, below 0).
template <class C>
HWY_INLINE double LeastRest(int64_t classes) {
  return std::is_same_v<C, float> ? static_cast<double>(classes) * 6e-7 : -1.0;
}

// Whether the peaks are finite and the rests exact.
HWY_INLINE bool IsPlain(const Group<double>& peaks, const Group<double>& rests, double least) {
  const Tag<double> d;
  bool plain = true;
  for (int j = 0; j < kRegisters<double>; ++j) {
    const auto finite = hn::Lt(hn::Abs(peaks.v[j]), hn::Set(d, kInfinity<double>));
    const auto exact = hn::Ge(rests.v[j], hn::Set(d, std::max(least, 0.0)));
    plain &= hn::AllTrue(d, hn::And(finite, exact));
  }
  return plain;
}

// The peaks and rests of a column made exact, and NaN where there is one. Whether there is one
// among the first `count` positions, the first of which is i of the tile.
template <Real R, class C>
HWY_NOINLINE bool Mend(const TileInput& in, int64_t classes, int64_t i, Group<double>& peaks,
                       Group<double>& rests, Stop stop) {
  const Tag<double> d;
  const int64_t count = std::min(kGroup, in.width - i);
  const auto threshold = hn::Set(d, LeastRest<C>(classes));
  const auto is_near = [&](int j) HWY_ATTR {
    return hn::And(hn::Lt(rests.v[j], threshold), hn::Ge(rests.v[j], hn::Zero(d)));
  };
  bool any_near = false;
  for (int j = 0; j < kRegisters<double>; ++j) any_near |= !hn::AllFalse(d, is_near(j));
  if (any_near) {
    const Group<double> exact =
        ExactRests<R>(At<R>(in.x, i), in.stride, classes, count, peaks, stop);
    for (int j = 0; j < kRegisters<double>; ++j) {
      rests.v[j] = hn::IfThenElse(is_near(j), exact.v[j], rests.v[j]);
    }
  }
  const auto nan = hn::Set(d, std::numeric_limits<double>::quiet_NaN());
  bool any_nan = false;
  for (int j = 0; j < kRegisters<double>; ++j) {
    const int64_t valid = std::clamp<int64_t>(count - j * kLanes<double>, 0, kLanes<double>);
    const auto finite = hn::Lt(hn::Abs(peaks.v[j]), hn::Set(d, kInfinity<double>));
    const auto good = hn::And(finite, hn::Ge(rests.v[j], hn::Zero(d)));
    peaks.v[j] = hn::IfThenElse(good, peaks.v[j], nan);
    rests.v[j] = hn::IfThenElse(good, rests.v[j], nan);
    any_nan |= !hn::AllFalse(d, hn::AndNot(good, hn::FirstN(d, static_cast<size_t>(valid))));
  }
  return any_nan;
}

// TileScale::factor and label_value of a column.
template <Real R, class C>
HWY_INLINE void StoreFactors(const Group<double>& scale, const Group<double>& label_gradient,
                             int64_t at, BlockValues<C>& values) {
  Group<double> factor;
  for (int j = 0; j < kRegisters<double>; ++j) {
    factor.v[j] = Finite<C>(scale.v[j], 1 / ExpUnit(kComputeOf<C>));
  }
  StoreGroupAt<kOwnFormat<C>, double>(factor, values.factor, at, kTileBlock);
  if constexpr (SizeOf(R) >= static_cast<int64_t>(sizeof(C))) {
    StoreGroupAt<kOwnFormat<C>, double>(label_gradient, values.label_value, at, kTileBlock);
  } else {
    // Such that one more rounding is their only one.
    alignas(64) double wide[kGroup];
    StoreScratch(label_gradient, wide);
    for (int64_t i = 0; i < kGroup; ++i) values.label_value[at + i] = RoundToOdd(wide[i]);
  }
}

// Of a loss without a head.
template <Real R, class C>
HWY_INLINE void MakeFactors(const Group<double>& peaks, const Group<double>& rests,
                            const Group<double>& picked, const double* coefficient, int64_t at,
                            BlockValues<C>& values) {
  Group<double> label_gradient;
  Group<double> scale;
  const Group<double> exponentials = LoadScratch(values.picked_exponential + at);
  const Group<double> coefficients = LoadScratch(coefficient);
  for (int j = 0; j < kRegisters<double>; ++j) {
    const LabelledGradient g =
        GradientOf(peaks.v[j], rests.v[j], picked.v[j], exponentials.v[j], coefficients.v[j]);
    label_gradient.v[j] = g.label_gradient;
    scale.v[j] = g.scale;
  }
  StoreFactors<R, C>(scale, label_gradient, at, values);
}

// Of `count` positions of a column, the first of which is `first` of the tile.
template <Real R, class C>
HWY_NOINLINE void MakeHeadFactors(const SoftmaxHead& head, const LabelledPositions& at,
                                  int64_t first, int64_t count, int64_t column,
                                  BlockValues<C>& values) {
  StoreScratch(LoadScratch(values.picked_exponential + column), at.picked_exponential + first);
  ApplyHead(head, at, first, count);
  StoreFactors<R, C>(LoadScratch(at.scale + first), LoadScratch(at.label_gradient + first), column,
                     values);
}

// What is known of a reduced block, the first position of which is i of the tile. Whether there is
// a NaN.
template <Real R, class C, bool kGradient>
HWY_INLINE bool FinishBlock(const TileInput& in, const LabelledPositions& at,
                            const SoftmaxHead* head, int64_t classes, int64_t i,
                            const ReduceStage<C>& reduce, BlockValues<C>& values, Stop stop) {
  for (int64_t c = 0; c < kColumns; ++c) StoreScratch(reduce.Rests(c), values.rest + c * kGroup);
  PickExponentials(values);
  bool any_nan = false;
  for (int64_t c = 0; c < kColumns && i + c * kGroup < in.width; ++c) {
    const int64_t first = i + c * kGroup;
    const Group<double> picked = Widen(LoadScratch(values.picked + c * kGroup));
    Group<double> peaks = Widen(LoadScratch(values.top + c * kGroup));
    Group<double> rests = LoadScratch(values.rest + c * kGroup);
    if (HWY_UNLIKELY(!IsPlain(peaks, rests, LeastRest<C>(classes)))) {
      any_nan |= Mend<R, C>(in, classes, first, peaks, rests, stop);
    }
    StoreScratch(picked, at.picked + first);
    StoreScratch(peaks, at.peak + first);
    StoreScratch(rests, at.rest + first);
    if constexpr (kGradient) {
      if (HWY_UNLIKELY(head != nullptr)) {
        MakeHeadFactors<R, C>(*head, at, first, std::min(kGroup, in.width - first), c * kGroup,
                              values);
        continue;
      }
      MakeFactors<R, C>(peaks, rests, picked, at.coefficient + first, c * kGroup, values);
    } else {
      StoreScratch(LoadScratch(values.picked_exponential + c * kGroup),
                   at.picked_exponential + first);
    }
  }
  return any_nan;
}

template <Real R>
bool ReduceTile(int64_t classes, const TileInput& in, const LabelledPositions& at, void* e,
                Stop stop) {
  using C = ComputeOf<R>;
  LoadStage<R, C> load(in, classes);
  NoScaleStage<C> none;
  BlockValues<C> values;
  C* block = static_cast<C*>(e);
  load.Begin(0, block);
  load.All(stop);
  bool any_nan = false;
  for (int64_t i = 0; i < in.width && !Stopped(stop); i += kTileBlock) {
    TakePeaks(load, values);
    Pick(block, in.label + i, in.width - i, values);
    C* next = block + classes * kTileBlock;
    load.Begin(i + kTileBlock, next);
    ReduceStage<C> reduce(block, values.reference);
    ReduceBlock(reduce, load, none, classes, stop);
    any_nan |= FinishBlock<R, C, false>(in, at, nullptr, classes, i, reduce, values, stop);
    block = next;
  }
  return any_nan;
}

template <Real R, bool kStreaming>
HWY_INLINE bool FuseTile(int64_t classes, const TileInput& in, const LabelledPositions& at,
                         const SoftmaxHead* head, void* e, const TileOutput& to, Stop stop) {
  using C = ComputeOf<R>;
  LoadStage<R, C> load(in, classes);
  ScaleStage<R, C, kStreaming> scale(to.stride, classes);
  BlockValues<C> values;
  C* block = static_cast<C*>(e);
  C* next = block + classes * kTileBlock;
  C* last = next + classes * kTileBlock;
  load.Begin(0, block);
  load.All(stop);
  bool any_nan = false;
  for (int64_t i = 0; i < in.width && !Stopped(stop); i += kTileBlock) {
    TakePeaks(load, values);
    Pick(block, in.label + i, in.width - i, values);
    load.Begin(i + kTileBlock, next);
    ReduceStage<C> reduce(block, values.reference);
    ReduceBlock(reduce, load, scale, classes, stop);
    any_nan |= FinishBlock<R, C, true>(in, at, head, classes, i, reduce, values, stop);
    scale.Begin({.e = block,
                 .factor = values.factor,
                 .label_value = values.label_value,
                 .label = in.label + i,
                 .out = At<R>(to.out, i),
                 .width = in.width - i});
    C* const free = last;
    last = block;
    block = next;
    next = free;
  }
  scale.All(stop);
  if constexpr (kStreaming) hwy::FlushStream();
  return any_nan;
}

template <Real R>
bool FusedTile(int64_t classes, const TileInput& in, const LabelledPositions& at,
               const SoftmaxHead* head, void* e, const TileOutput& to, Stop stop) {
  if constexpr (kCanStream<R, ComputeOf<R>>) {
    if (StreamsTile<R, ComputeOf<R>>(to))
      return FuseTile<R, true>(classes, in, at, head, e, to, stop);
  }
  return FuseTile<R, false>(classes, in, at, head, e, to, stop);
}

template <class C, Real R, bool kStreaming>
void ScaleBlocks(int64_t classes, const TileScale& tile, Stop stop) {
  ScaleStage<R, C, kStreaming> scale(tile.to.stride, classes);
  for (int64_t i = 0; i < tile.width && !Stopped(stop); i += kTileBlock) {
    scale.Begin({.e = static_cast<const C*>(tile.e) + i * classes,
                 .factor = static_cast<const C*>(tile.factor) + i,
                 .label_value = static_cast<const C*>(tile.label_value) + i,
                 .label = tile.label + i,
                 .out = At<R>(tile.to.out, i),
                 .width = tile.width - i});
    scale.All(stop);
  }
  if constexpr (kStreaming) hwy::FlushStream();
}

template <class C, Real R>
void ScaleTile(int64_t classes, const TileScale& tile, Stop stop) {
  if constexpr (kCanStream<R, C>) {
    if (StreamsTile<R, C>(tile.to)) return ScaleBlocks<C, R, true>(classes, tile, stop);
  }
  ScaleBlocks<C, R, false>(classes, tile, stop);
}

void FillSoftmaxTiles(KernelSet& set) {
  set.reduce_tile[0] = ReduceTile<Real::kF32>;
  set.reduce_tile[1] = ReduceTile<Real::kF64>;
  set.reduce_tile[2] = ReduceTile<Real::kF16>;
  set.reduce_tile[3] = ReduceTile<Real::kBF16>;
  set.scale_tile[0][0] = ScaleTile<float, Real::kF32>;
  set.scale_tile[0][1] = ScaleTile<float, Real::kF64>;
  set.scale_tile[0][2] = ScaleTile<float, Real::kF16>;
  set.scale_tile[0][3] = ScaleTile<float, Real::kBF16>;
  set.scale_tile[1][0] = ScaleTile<double, Real::kF32>;
  set.scale_tile[1][1] = ScaleTile<double, Real::kF64>;
  set.scale_tile[1][2] = ScaleTile<double, Real::kF16>;
  set.scale_tile[1][3] = ScaleTile<double, Real::kBF16>;
  set.fused_tile[0] = FusedTile<Real::kF32>;
  set.fused_tile[1] = FusedTile<Real::kF64>;
  set.fused_tile[2] = FusedTile<Real::kF16>;
  set.fused_tile[3] = FusedTile<Real::kBF16>;
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
