// Softmax with lanes across positions (inner extent > 1): KernelSet::reduce_tile, scale_tile.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/softmax_tiles.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/group-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// A tile's predictions into scratch, widened, and the peak of each position. Class by class, as
// they lie in memory: the classes of one position are far apart.
template <Real R, class C>
HWY_INLINE void LoadTile(const void* x, int64_t stride, int64_t classes, int64_t width, C* e,
                         int64_t e_stride, C* peaks) {
  for (int64_t i = 0; i < width; i += kGroup) StoreScratch(Fill(-kInfinity<C>), peaks + i);
  for (int64_t k = 0; k < classes; ++k) {
    const void* line = At<R>(x, k * stride);
    C* scratch = e + k * e_stride;
    for (int64_t i = 0; i < width; i += kGroup) {
      const Group<C> xs = LoadGroupAt<R, C>(line, i, width, C{0});
      StoreScratch(xs, scratch + i);
      Group<C> top = LoadScratch(peaks + i);
      for (int j = 0; j < kRegisters<C>; ++j) top.v[j] = hn::Max(top.v[j], xs.v[j]);
      StoreScratch(top, peaks + i);
    }
  }
}

// One column of groups: kGroup neighbouring positions with all their classes. Sums over classes run
// class by class, stretches of kStretch in float and the rest in double, lane by lane.
template <class C>
struct Column {
  C* e;  // predictions, then exponentials
  int64_t e_stride;
  int64_t classes;
  // What the next tile begins with, to be fetched from memory meanwhile.
  const uint8_t* next;
  int64_t next_stride;  // bytes

  HWY_INLINE void Fetch(int64_t k) const { hwy::Prefetch(next + k * next_stride); }
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
                                      const Group<double>& peaks) {
  const Tag<double> d;
  Sum64 below;
  Group<double> at_peak = Fill(-1.0);
  for (int64_t k = 0; k < classes; ++k) {
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

// Exponentials of a float column into its scratch, and the sums of those below the peak.
HWY_INLINE Group<double> ReduceColumn(const Column<float>& column, const Group<float>& peaks) {
  const Tag<float> d;
  const Group<float> references = References(peaks);
  WideSum below;
  Group<float> at_peak = Fill(-1.0f);
  float* e = column.e;
  for (int64_t begin = 0; begin < column.classes; begin += kStretch) {
    const int64_t end = std::min<int64_t>(column.classes, begin + kStretch);
    Group<float> stretch = Fill(0.0f);
    for (int64_t k = begin; k < end; ++k, e += column.e_stride) {
      column.Fetch(k);
      Group<float> es = LoadScratch(e);
      for (int j = 0; j < kRegisters<float>; ++j) {
        const auto distance = hn::Sub(es.v[j], references.v[j]);
        const auto equal = hn::Eq(distance, hn::Zero(d));
        es.v[j] = ScaledExp(distance);
        stretch.v[j] = hn::Add(stretch.v[j], hn::IfThenZeroElse(equal, es.v[j]));
        at_peak.v[j] = hn::Add(at_peak.v[j], hn::IfThenElseZero(equal, hn::Set(d, 1.0f)));
      }
      StoreScratch(es, e);
    }
    below.Add(stretch);
  }
  const Tag<double> dd;
  const Group<double> ties = Widen(at_peak);
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
  for (int64_t k = 0; k < column.classes; ++k) {
    column.Fetch(k);
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

template <Real R>
void ReduceTile(const void* x, int64_t stride, int64_t classes, int64_t width, const int32_t* label,
                void* e, int64_t e_stride, double* peak, double* rest, double* picked,
                double* picked_exponential) {
  using C = ComputeOf<R>;
  const auto pick = [&](double unit, double* out) {
    for (int64_t i = 0; i < width; ++i) {
      const int64_t k = std::max(label[i], 0);
      out[i] = label[i] < 0 ? 0.0 : static_cast<const C*>(e)[k * e_stride + i] * unit;
    }
  };
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const double threshold = std::is_same_v<C, float> ? static_cast<double>(classes) * 6e-7 : -1.0;
  alignas(64) C tops[kMaxTileWidth];
  LoadTile<R, C>(x, stride, classes, width, static_cast<C*>(e), e_stride, tops);
  pick(1.0, picked);
  for (int64_t i = 0; i < width; i += kGroup) {
    const int64_t count = std::min(kGroup, width - i);
    const Group<C> top = LoadScratch(tops + i);
    const Group<double> peaks = Widen(top);
    const Column<C> column{.e = static_cast<C*>(e) + i,
                           .e_stride = e_stride,
                           .classes = classes,
                           .next = At<R>(x, i + width),
                           .next_stride = stride * SizeOf(R)};
    const Group<double> rests = ReduceColumn(column, top);
    alignas(64) double found_peak[kGroup];
    alignas(64) double found_rest[kGroup];
    StoreScratch(peaks, found_peak);
    StoreScratch(rests, found_rest);
    bool near_certain = false;
    for (int64_t p = 0; p < count; ++p) near_certain |= found_rest[p] < threshold;
    alignas(64) double exact[kGroup];
    if (near_certain) {
      StoreScratch(ExactRests<R>(At<R>(x, i), stride, classes, count, peaks), exact);
    }
    for (int64_t p = 0; p < count; ++p) {
      const bool bad = !(found_rest[p] >= 0) || std::isinf(found_peak[p]);
      peak[i + p] = bad ? kNaN : found_peak[p];
      rest[i + p] = bad ? kNaN : found_rest[p] < threshold ? exact[p] : found_rest[p];
    }
  }
  pick(1 / ExpUnit(std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble),
       picked_exponential);
}

// The lanes that hold class k of positions with these labels, as a mask for C.
template <class C>
HWY_INLINE auto LabelMask(const int32_t* label, int64_t k) {
  const hn::Rebind<int32_t, Tag<C>> di;
  const auto labels = hn::LoadU(di, label);
  if constexpr (std::is_same_v<C, float>) {
    return hn::RebindMask(Tag<C>(), hn::Eq(labels, hn::Set(di, static_cast<int32_t>(k))));
  } else {
    const hn::RebindToSigned<Tag<C>> dl;
    return hn::RebindMask(Tag<C>(), hn::Eq(hn::PromoteTo(dl, labels), hn::Set(dl, k)));
  }
}

template <class C, Real R>
void ScaleTile(const void* e, int64_t e_stride, const void* factor, const int32_t* label,
               const void* label_value, int64_t classes, int64_t width, bool streaming, void* out,
               int64_t stride) {
  const C* scale = static_cast<const C*>(factor);
  const C* value = static_cast<const C*>(label_value);
  for (int64_t k = 0; k < classes; ++k) {
    const C* scratch = static_cast<const C*>(e) + k * e_stride;
    StoreRow<R, C>(At<R>(out, k * stride), 0, width, streaming, [&](int64_t i) HWY_ATTR {
      Group<C> g = LoadScratch(scratch + i);
      const Group<C> s = LoadScratch(scale + i);
      const Group<C> at_label = LoadScratch(value + i);
      for (int j = 0; j < kRegisters<C>; ++j) {
        const auto scaled = hn::MulAdd(g.v[j], s.v[j], hn::Zero(Tag<C>()));
        g.v[j] = hn::IfThenElse(LabelMask<C>(label + i + j * kLanes<C>, k), at_label.v[j], scaled);
      }
      return g;
    });
  }
  if (streaming) hwy::FlushStream();
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
