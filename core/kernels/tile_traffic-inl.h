// Tiles on their way in and out, a few groups at a time beside other work. Compiled once per
// target.

#if defined(LOSSD_CORE_KERNELS_TILE_TRAFFIC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_TILE_TRAFFIC_INL_H_
#undef LOSSD_CORE_KERNELS_TILE_TRAFFIC_INL_H_
#else
#define LOSSD_CORE_KERNELS_TILE_TRAFFIC_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"
#include "core/kernels/stores-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// A tile of many classes is kGroup to 4 * kGroup positions wide.
constexpr int64_t kPollClasses = kPollElements / (4 * kGroup);

// The predictions of a tile on their way into scratch, widened. Class by class, as they lie in
// memory: the classes of one position may be so far apart that a cache could not hold their lines
// together.
template <Real R, class C>
class LoadBeside {
 public:
  HWY_INLINE LoadBeside(const TileLoad& load, int64_t classes, Stop stop)
      : load_(load), rows_(load.width > 0 ? classes : 0), stop_(stop) {}

  // The next `groups` groups, as far as there are any.
  HWY_INLINE void Step(int64_t groups) {
    while (groups > 0 && k_ < rows_) {
      const int64_t begin = i_;
      const int64_t end = std::min(load_.width, begin + groups * kGroup);
      LoadGroups(begin, end);
      groups -= (end - begin + kGroup - 1) / kGroup;
      i_ = end;
      if (end == load_.width) {
        i_ = 0;
        ++k_;
        if (HWY_UNLIKELY(k_ % kPollClasses == 0) && Stopped(stop_)) k_ = rows_;
      }
    }
  }

  HWY_INLINE void Finish() { Step((rows_ - k_) * (load_.width / kGroup + 1)); }

 private:
  HWY_INLINE void LoadGroups(int64_t begin, int64_t end) const {
    const void* line = At<R>(load_.x, k_ * load_.stride);
    // The next class lies elsewhere, where no hardware expects the next look.
    const uint8_t* next = At<R>(load_.x, (k_ + 1 < rows_ ? k_ + 1 : k_) * load_.stride);
    C* scratch = static_cast<C*>(load_.e) + k_ * load_.e_stride;
    const int64_t width = load_.width;
    for (int64_t i = begin; i < end; i += kGroup) {
      hwy::Prefetch(next + i * SizeOf(R));
      StoreScratch(LoadGroupAt<R, C>(line, i, width, C{0}), scratch + i);
    }
  }

  const TileLoad load_;
  int64_t rows_;
  const Stop stop_;
  int64_t k_ = 0;
  int64_t i_ = 0;
};

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

// A tile on its way out of scratch, scaled: see TileScale. In blocks of kColumns groups of
// positions with all their classes, so that what belongs to a position stays in registers.
template <Real R, class C, bool kStreaming>
class ScaleBeside {
 public:
  HWY_INLINE ScaleBeside(const TileScale& scale, int64_t classes, Stop stop)
      : scale_(scale), classes_(classes), stop_(stop) {}

  // The next `groups` groups, as far as there are any.
  HWY_INLINE void Step(int64_t groups) {
    while (groups > 0 && i_ < scale_.width) {
      const int64_t begin = k_;
      const int64_t most = std::min(kPollClasses, (groups + kColumns - 1) / kColumns);
      k_ = std::min(classes_, begin + most);
      if (Stopped(stop_)) {
        i_ = scale_.width;
        return;
      }
      ScaleBlock(begin, k_);
      groups -= (k_ - begin) * kColumns;
      if (k_ < classes_) continue;
      k_ = 0;
      i_ += kColumns * kGroup;
    }
  }

  HWY_INLINE void Finish() {
    while (i_ < scale_.width) Step(classes_ * kColumns);
  }

 private:
  static constexpr int64_t kColumns = 4;

  // Classes [begin, end) of the block at i_.
  HWY_INLINE void ScaleBlock(int64_t begin, int64_t end) const {
    if (HWY_LIKELY(i_ + kColumns * kGroup <= scale_.width)) {
      ScaleColumns<kColumns>(i_, begin, end);
      return;
    }
    for (int64_t i = i_; i < scale_.width; i += kGroup) ScaleColumns<1>(i, begin, end);
  }

  template <int64_t kCount>
  HWY_INLINE void ScaleColumns(int64_t at, int64_t begin, int64_t end) const {
    const Tag<C> d;
    const C* e = static_cast<const C*>(scale_.e) + at;
    const int32_t* label = scale_.label + at;
    const int64_t e_stride = scale_.e_stride;
    const int64_t width = scale_.width - at;
    uint8_t* out = At<R>(scale_.out, at);
    const int64_t out_stride = scale_.stride * SizeOf(R);
    Group<C> factor[kCount];
    Group<C> value[kCount];
    for (int64_t c = 0; c < kCount; ++c) {
      factor[c] = LoadScratch(static_cast<const C*>(scale_.factor) + at + c * kGroup);
      value[c] = LoadScratch(static_cast<const C*>(scale_.label_value) + at + c * kGroup);
    }
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t c = 0; c < kCount; ++c) {
        Group<C> g = LoadScratch(e + k * e_stride + c * kGroup);
        for (int j = 0; j < kRegisters<C>; ++j) {
          const auto scaled = hn::MulAdd(g.v[j], factor[c].v[j], hn::Zero(d));
          const auto here = LabelMask<C>(label + c * kGroup + j * kLanes<C>, k);
          g.v[j] = hn::IfThenElse(here, value[c].v[j], scaled);
        }
        if constexpr (kStreaming) {
          if (HWY_LIKELY((c + 1) * kGroup <= width)) {
            StreamGroup<R, C>(g, At<R>(out + k * out_stride, c * kGroup));
            continue;
          }
        }
        StoreGroupAt<R, C>(g, out + k * out_stride, c * kGroup, width);
      }
    }
  }

  const TileScale scale_;
  int64_t classes_;
  const Stop stop_;
  int64_t i_ = 0;  // of the block
  int64_t k_ = 0;  // its next class
};

// Whether every line of the output begins and goes on where a cache line does.
template <Real R, class C>
HWY_INLINE bool StreamsTile(const TileScale& scale) {
  const auto address = reinterpret_cast<uintptr_t>(scale.out);
  return kCanStream<R, C> && scale.streaming && address % kLineBytes == 0 &&
         scale.stride * SizeOf(R) % kLineBytes == 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
