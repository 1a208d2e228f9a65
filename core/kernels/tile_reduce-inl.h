// Exponentials and their sums with lanes across the positions of a block. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_TILE_REDUCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_TILE_REDUCE_INL_H_
#undef LOSSD_CORE_KERNELS_TILE_REDUCE_INL_H_
#else
#define LOSSD_CORE_KERNELS_TILE_REDUCE_INL_H_
#endif

#include <cstdint>

#include "core/kernels/exponentials-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/tile_stages-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

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

// The predictions of a block, whose exponentials take their places, and the sums of those below the
// peaks. Sums run class by class, stretches of kStretch in float and the rest in double, lane by
// lane.
template <class C>
class ReduceStage;

template <>
class ReduceStage<float> {
 public:
  HWY_INLINE ReduceStage(float* block, const float* top) : block_(block), reference_(top) {
    for (auto& ties : at_peak_) ties = Fill(-1.0f);
    for (auto& sums : below_) sums = Fill(0.0);
  }

  HWY_INLINE void BeginStretch() {
    for (auto& sums : stretch_) sums = Fill(0.0f);
  }

  // Column by column: more of them side by side would not leave registers for the sums.
  HWY_INLINE void Class(int64_t k) {
    float* e = block_ + k * kTileBlock;
    for (int64_t c = 0; c < kColumns; ++c) Column(e + c * kGroup, c);
  }

  HWY_INLINE void EndStretch() {
    for (int64_t c = 0; c < kColumns; ++c) {
      const Group<double> wide = Widen(stretch_[c]);
      for (int j = 0; j < kRegisters<double>; ++j) {
        below_[c].v[j] = hn::Add(below_[c].v[j], wide.v[j]);
      }
    }
  }

  // RowSums::rest of column c, but for NaN and what ExactRests is for.
  HWY_INLINE Group<double> Rests(int64_t c) const {
    const Group<double> ties = Widen(at_peak_[c]);
    Group<double> rests;
    for (int j = 0; j < kRegisters<double>; ++j) {
      rests.v[j] = hn::MulAdd(below_[c].v[j], hn::Set(Tag<double>(), 0x1p-24), ties.v[j]);
    }
    return rests;
  }

 private:
  HWY_INLINE void Column(float* e, int64_t c) {
    const Tag<float> d;
    const float* reference = reference_ + c * kGroup;
    Vec<float> es[kRegisters<float>];
    hn::Mask<Tag<float>> equal[kRegisters<float>];
    for (int j = 0; j < kRegisters<float>; ++j) {
      const int64_t at = j * kLanes<float>;
      es[j] = hn::Sub(hn::LoadU(d, e + at), hn::LoadU(d, reference + at));
      equal[j] = hn::Eq(es[j], hn::Zero(d));
    }
    ScaledExps(es);
    for (int j = 0; j < kRegisters<float>; ++j) {
      hn::StoreU(es[j], d, e + j * kLanes<float>);
      // Written such that targets with masked additions take one instruction for each.
      const auto more = hn::Add(stretch_[c].v[j], es[j]);
      const auto one_more = hn::Add(at_peak_[c].v[j], hn::Set(d, 1.0f));
      stretch_[c].v[j] = hn::IfThenElse(equal[j], stretch_[c].v[j], more);
      at_peak_[c].v[j] = hn::IfThenElse(equal[j], one_more, at_peak_[c].v[j]);
    }
  }

  float* block_;
  const float* reference_;
  Group<float> stretch_[kColumns];
  Group<float> at_peak_[kColumns];
  Group<double> below_[kColumns];
};

template <>
class ReduceStage<double> {
 public:
  HWY_INLINE ReduceStage(double* block, const double* top) : block_(block), reference_(top) {
    for (auto& ties : at_peak_) ties = Fill(-1.0);
  }

  HWY_INLINE void BeginStretch() {}

  HWY_INLINE void Class(int64_t k) {
    for (int64_t c = 0; c < kColumns; ++c) {
      double* e = block_ + k * kTileBlock + c * kGroup;
      const Group<double> xs = LoadScratch(e);
      const Group<double> references = LoadScratch(reference_ + c * kGroup);
      Group<double> es;
      Group<double> counted;
      for (int j = 0; j < kRegisters<double>; ++j) {
        const auto equal = hn::Eq(xs.v[j], references.v[j]);
        es.v[j] = ExpOfDifference(xs.v[j], references.v[j]);
        counted.v[j] = hn::IfThenZeroElse(equal, es.v[j]);
        const auto one = hn::IfThenElseZero(equal, hn::Set(Tag<double>(), 1.0));
        at_peak_[c].v[j] = hn::Add(at_peak_[c].v[j], one);
      }
      StoreScratch(es, e);
      below_[c].Add(counted);
    }
  }

  HWY_INLINE void EndStretch() {}

  HWY_INLINE Group<double> Rests(int64_t c) const {
    Group<double> rests;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto below = hn::Add(below_[c].high.v[j], below_[c].low.v[j]);
      rests.v[j] = hn::Add(below, at_peak_[c].v[j]);
    }
    return rests;
  }

 private:
  double* block_;
  const double* reference_;
  Sum64 below_[kColumns];
  Group<double> at_peak_[kColumns];
};

// All classes of a block, and beside them those of the block before and of the one behind it.
template <class C, class Load, class Scale>
HWY_INLINE void ReduceBlock(ReduceStage<C>& reduce, Load& load, Scale& scale, int64_t classes,
                            Stop stop) {
  for (int64_t begin = 0; HasClass(begin, classes, stop); begin += kStretch) {
    const int64_t end = std::min<int64_t>(classes, begin + kStretch);
    reduce.BeginStretch();
    for (int64_t k = begin; k < end; ++k) {
      load.Class(k);
      reduce.Class(k);
      scale.Class(k);
    }
    reduce.EndStretch();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
