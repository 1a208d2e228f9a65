// What the options of softmax losses make of logits, and what is found in rows beside their
// softmax: KernelSet::logit_references, change_logits, scale_changed_row, entropy_sum,
// entropy_tile, rank.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/logits.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/exponentials-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// tanh and its derivative, each without cancellation: with e = e^(-2|x|), (1 - e) / (1 + e) and
// 4 e / (1 + e)^2.
template <class C>
struct Tanh {
  Vec<C> value;
  Vec<C> slope;
};

// e^-y and 1 - e^-y of y >= 0.
HWY_INLINE void Decay(Vec<float> y, Vec<float>& e, Vec<float>& rest) {
  const Tag<float> d;
  const auto unit = hn::Set(d, 0x1p-24f);
  Vec<float> r[1] = {hn::Neg(y)};
  Vec<float> power[1];
  ScaledExpFactors(r, power);
  e = hn::Mul(hn::MulAdd(r[0], power[0], power[0]), unit);
  const auto whole = hn::Mul(power[0], unit);
  rest = hn::NegMulAdd(r[0], whole, hn::Sub(hn::Set(d, 1.0f), whole));
}
HWY_INLINE void Decay(Vec<double> y, Vec<double>& e, Vec<double>& rest) {
  const Tag<double> d;
  // Below, the square of e is no number any more that anybody wants.
  const auto bounded = hn::Min(y, hn::Set(d, 800.0));
  e = hn::Exp(d, hn::Neg(bounded));
  rest = hn::Neg(hn::Expm1(d, hn::Neg(bounded)));
}

template <class C>
HWY_INLINE Tanh<C> TanhOf(Vec<C> x) {
  const Tag<C> d;
  const auto size = hn::Abs(x);
  Vec<C> e;
  Vec<C> rest;
  Decay(hn::Add(size, size), e, rest);
  const auto share = hn::Div(hn::Set(d, C{1}), hn::Add(hn::Set(d, C{1}), e));
  const auto square = hn::Mul(share, share);
  return {hn::CopySign(hn::Mul(rest, share), x), hn::Mul(hn::Mul(hn::Set(d, C{4}), e), square)};
}

// The options in the compute type.
template <class C>
class Change {
 public:
  HWY_INLINE Change(const LogitChange& change, double reference)
      : cap_(hn::Set(Tag<C>(), ToFinite<C>(change.soft_cap))),
        over_cap_(hn::Set(Tag<C>(), ToFinite<C>(1 / change.soft_cap))),
        // Not 0, so that what is infinite stays so.
        scale_(
            hn::Set(Tag<C>(), std::max(ToFinite<C>(change.scale), std::numeric_limits<C>::min()))),
        reference_(hn::Set(Tag<C>(), static_cast<C>(reference))) {}

  // z of logits x, and the slope of the soft cap.
  template <bool kCapped>
  HWY_INLINE Vec<C> Of(Vec<C> x, Vec<C>& slope) const {
    const Tag<C> d;
    if constexpr (!kCapped) return hn::Mul(hn::Sub(x, reference_), scale_);
    const Tanh<C> tanh = TanhOf<C>(hn::Mul(x, over_cap_));
    slope = tanh.slope;
    const auto z = hn::Mul(hn::Sub(hn::Mul(cap_, tanh.value), reference_), scale_);
    // What is infinite or NaN stays so.
    const auto finite = hn::Lt(hn::Abs(x), hn::Set(d, kInfinity<C>));
    slope = hn::IfThenElseZero(finite, slope);
    return hn::IfThenElse(finite, z, x);
  }

 private:
  Vec<C> cap_;
  Vec<C> over_cap_;
  Vec<C> scale_;
  Vec<C> reference_;
};

template <class C, Real R, bool kCapped>
HWY_INLINE void ChangeRow(const void* x, int64_t classes, const LogitChange& change,
                          double reference, C* z, C* slope, Stop stop) {
  const Tag<C> d;
  const Change<C> changed(change, reference);
  const auto masked = hn::Set(d, -kInfinity<C>);
  for (int64_t k = 0; GoesOn(k, classes, stop); k += kGroup) {
    const Group<C> xs = LoadGroupAt<R, C>(x, k, classes, -kInfinity<C>);
    Group<C> zs;
    Group<C> slopes;
    for (int j = 0; j < kRegisters<C>; ++j) {
      zs.v[j] = changed.template Of<kCapped>(xs.v[j], slopes.v[j]);
    }
    if (change.bias != nullptr) {
      const auto bias = LoadGroupAt<Real::kF64, C>(change.bias, k, classes, C{0});
      for (int j = 0; j < kRegisters<C>; ++j) {
        // Also what is no number.
        const auto out = hn::Eq(bias.v[j], masked);
        zs.v[j] = hn::IfThenElse(out, masked, hn::Add(zs.v[j], bias.v[j]));
      }
    }
    StoreScratch(zs, z + k);
    if constexpr (kCapped) StoreScratch(slopes, slope + k);
  }
}

template <class C, Real R>
void ChangeLogits(const void* x, int64_t rows, int64_t classes, const LogitChange& change,
                  const double* reference, void* z, void* slope, Stop stop) {
  const bool capped = change.soft_cap != kInfinity<double>;
  for (int64_t r = 0; r < rows; ++r) {
    const void* row = At<R>(x, r * classes);
    C* const to = static_cast<C*>(z) + r * classes;
    if (capped) {
      C* const slopes = static_cast<C*>(slope) + r * classes;
      ChangeRow<C, R, true>(row, classes, change, reference[r], to, slopes, stop);
    } else {
      ChangeRow<C, R, false>(row, classes, change, reference[r], to, nullptr, stop);
    }
  }
}

template <Real R>
void References(const void* x, int64_t rows, int64_t classes, const LogitChange& change,
                double* reference, Stop stop) {
  using C = ComputeOf<R>;
  for (int64_t r = 0; r < rows; ++r) {
    reference[r] = 0;
    if (change.scale == 1 && change.bias == nullptr) continue;
    double peak = -kInfinity<double>;
    for (int64_t k = 0; GoesOn(k, classes, stop); k += kPollElements) {
      const int64_t part = std::min(classes - k, kPollElements);
      peak = std::max<double>(peak, Peak<R, C>(At<R>(x, r * classes + k), part));
    }
    if (!(std::abs(peak) < kInfinity<double>)) continue;
    if (change.soft_cap != kInfinity<double>) {
      const auto top = TanhOf<double>(hn::Set(Tag<double>(), peak / change.soft_cap));
      peak = change.soft_cap * hn::GetLane(top.value);
    }
    reference[r] = static_cast<C>(peak);
  }
}

template <class C, Real R>
void ScaleChangedRow(const ChangedRow& row, int64_t classes, bool streaming, void* out, Stop stop) {
  const Tag<C> d;
  const C* const e = static_cast<const C*>(row.e);
  const C* const z = static_cast<const C*>(row.z);
  const C* const c = static_cast<const C*>(row.c);
  const C* const slope = static_cast<const C*>(row.slope);
  const C unit = static_cast<C>(1 / ExpUnit(kComputeOf<C>));
  const auto minus = hn::Set(d, ToFinite<C>(row.minus));
  const auto top = hn::Set(d, static_cast<C>(row.top));
  const int64_t step = std::is_same_v<C, float> ? kChunk : kPollElements;
  for (int64_t begin = 0; GoesOn(begin, classes, stop); begin += step) {
    const double scale = row.chunk_scale[std::is_same_v<C, float> ? begin / kChunk : 0] * unit;
    const auto base = hn::Set(d, ToFinite<C>(scale * row.base));
    const auto by = hn::Set(d, ToFinite<C>(scale * row.by));
    const int64_t end = std::min(classes, begin + step);
    StoreRow<R, C>(out, begin, end, streaming, [&](int64_t k) HWY_ATTR {
      Group<C> g = LoadScratch(e + k);
      if (row.by == 0 || scale == 0) {
        for (auto& v : g.v) v = hn::Mul(v, base);
      } else {
        const Group<C> zs = LoadScratch(z + k);
        for (int j = 0; j < kRegisters<C>; ++j) {
          const auto product = hn::Mul(g.v[j], hn::MulAdd(by, hn::Sub(zs.v[j], top), base));
          // A masked class has an infinite z.
          g.v[j] = hn::IfThenZeroElse(hn::Eq(g.v[j], hn::Zero(d)), product);
        }
      }
      if (c != nullptr) {
        const Group<C> cs = LoadGroupAt<kOwnFormat<C>, C>(c, k, end, C{0});
        for (int j = 0; j < kRegisters<C>; ++j) {
          g.v[j] = hn::NegMulAdd(cs.v[j], minus, g.v[j]);
        }
      }
      if (slope != nullptr) {
        const Group<C> slopes = LoadScratch(slope + k);
        for (int j = 0; j < kRegisters<C>; ++j) g.v[j] = hn::Mul(g.v[j], slopes.v[j]);
      }
      for (auto& v : g.v) v = OneNaN<C>(hn::Add(v, hn::Zero(d)));
      return g;
    });
  }
  if (streaming) hwy::FlushStream();
}

// e (peak - x), 0 for a masked class.
template <class C>
HWY_INLINE Group<C> EntropyTerms(const Group<C>& e, const Group<C>& x, const Group<C>& peak) {
  Group<C> terms;
  for (int j = 0; j < kRegisters<C>; ++j) {
    const auto term = hn::Mul(e.v[j], hn::Sub(peak.v[j], x.v[j]));
    terms.v[j] = hn::IfThenZeroElse(hn::Eq(e.v[j], hn::Zero(Tag<C>())), term);
  }
  return terms;
}

template <Real R>
double EntropySum(const void* x, const void* e, const double* chunk_scale, int64_t classes,
                  double peak, Stop stop) {
  using C = ComputeOf<R>;
  const Group<C> peaks = Fill(static_cast<C>(peak));
  const int64_t step = std::is_same_v<C, float> ? kChunk : kPollElements;
  double sum = 0;
  for (int64_t begin = 0; GoesOn(begin, classes, stop); begin += step) {
    const int64_t end = std::min(classes, begin + step);
    const double scale = chunk_scale[std::is_same_v<C, float> ? begin / kChunk : 0];
    if (scale == 0) continue;  // so far from the peak that the distance may be infinite
    ValueSum<C> part;
    for (int64_t k = begin; k < end; k += kGroup) {
      part.Add(EntropyTerms(LoadGroupAt<kOwnFormat<C>, C>(e, k, end, C{0}),
                            LoadGroupAt<R, C>(x, k, end, C{0}), peaks));
    }
    sum += part.Total() * scale;
  }
  return sum / ExpUnit(kComputeOf<C>);
}

template <Real R>
void EntropyTile(int64_t classes, const TileInput& in, const void* e, const double* peak,
                 double* sum, Stop stop) {
  using C = ComputeOf<R>;
  const auto unit = hn::Set(Tag<double>(), 1 / ExpUnit(kComputeOf<C>));
  for (int64_t i = 0; i < in.width && !Stopped(stop); i += kGroup) {
    const int64_t block = i / kTileBlock * kTileBlock;
    const C* const es = static_cast<const C*>(e) + block * classes + (i - block);
    const auto peaks = LoadGroupAt<Real::kF64, C>(peak, i, in.width, C{0});
    ValueSum<C> lanes;
    for (int64_t k = 0; GoesOn(k * kGroup, classes * kGroup, stop); ++k) {
      const auto xs = LoadGroupAt<R, C>(At<R>(in.x, k * in.stride + i), 0, in.width - i, C{0});
      lanes.Add(EntropyTerms(LoadScratch(es + k * kTileBlock), xs, peaks));
    }
    Group<double> sums = lanes.Lanes();
    for (auto& v : sums.v) v = hn::Mul(v, unit);
    StoreScratch(sums, sum + i);
  }
}

template <Real R>
int64_t Rank(const void* x, int64_t classes, int64_t label, Stop stop) {
  using C = ComputeOf<R>;
  const Tag<C> d;
  const auto own = hn::Set(d, static_cast<C>(Load(R, At<R>(x, label))));
  int64_t rank = 0;
  auto nan = hn::IsNaN(own);
  for (int64_t k = 0; GoesOn(k, classes, stop); k += kGroup) {
    const Group<C> xs = LoadGroupAt<R, C>(x, k, classes, -kInfinity<C>);
    const bool before = k + kGroup <= label;
    const bool around = k <= label && !before;
    for (int j = 0; j < kRegisters<C>; ++j) {
      const auto larger = hn::Gt(xs.v[j], own);
      nan = hn::Or(nan, hn::IsNaN(xs.v[j]));
      rank += static_cast<int64_t>(hn::CountTrue(d, larger));
      if (k > label) continue;
      auto equal = hn::Eq(xs.v[j], own);
      if (around) {
        const int64_t lanes = std::clamp<int64_t>(label - k - j * kLanes<C>, 0, kLanes<C>);
        equal = hn::And(equal, hn::FirstN(d, static_cast<size_t>(lanes)));
      }
      rank += static_cast<int64_t>(hn::CountTrue(d, equal));
    }
  }
  return hn::AllFalse(d, nan) ? rank : -1;
}

template <class C>
void FillCompute(KernelSet& set) {
  constexpr int kIndex = static_cast<int>(kComputeOf<C>);
  set.change_logits[kIndex][0] = ChangeLogits<C, Real::kF32>;
  set.change_logits[kIndex][1] = ChangeLogits<C, Real::kF64>;
  set.change_logits[kIndex][2] = ChangeLogits<C, Real::kF16>;
  set.change_logits[kIndex][3] = ChangeLogits<C, Real::kBF16>;
  set.scale_changed_row[kIndex][0] = ScaleChangedRow<C, Real::kF32>;
  set.scale_changed_row[kIndex][1] = ScaleChangedRow<C, Real::kF64>;
  set.scale_changed_row[kIndex][2] = ScaleChangedRow<C, Real::kF16>;
  set.scale_changed_row[kIndex][3] = ScaleChangedRow<C, Real::kBF16>;
}

void FillLogits(KernelSet& set) {
  FillCompute<float>(set);
  FillCompute<double>(set);
  set.logit_references[0] = References<Real::kF32>;
  set.logit_references[1] = References<Real::kF64>;
  set.logit_references[2] = References<Real::kF16>;
  set.logit_references[3] = References<Real::kBF16>;
  set.entropy_sum[0] = EntropySum<Real::kF32>;
  set.entropy_sum[1] = EntropySum<Real::kF64>;
  set.entropy_sum[2] = EntropySum<Real::kF16>;
  set.entropy_sum[3] = EntropySum<Real::kBF16>;
  set.entropy_tile[0] = EntropyTile<Real::kF32>;
  set.entropy_tile[1] = EntropyTile<Real::kF64>;
  set.entropy_tile[2] = EntropyTile<Real::kF16>;
  set.entropy_tile[3] = EntropyTile<Real::kBF16>;
  set.rank[0] = Rank<Real::kF32>;
  set.rank[1] = Rank<Real::kF64>;
  set.rank[2] = Rank<Real::kF16>;
  set.rank[3] = Rank<Real::kBF16>;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillLogits);
void AddLogits(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillLogits)(set); }
}  // namespace lossd::kernels
#endif
