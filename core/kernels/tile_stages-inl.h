// A block of positions on its way in and out, class by class beside other work. Compiled once per
// target.

#if defined(LOSSD_CORE_KERNELS_TILE_STAGES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_TILE_STAGES_INL_H_
#undef LOSSD_CORE_KERNELS_TILE_STAGES_INL_H_
#else
#define LOSSD_CORE_KERNELS_TILE_STAGES_INL_H_
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

// The groups of a block, side by side.
constexpr int64_t kColumns = kTileBlock / kGroup;
// A block of more classes than these looks at the stop flag in between.
constexpr int64_t kPollClasses = kPollElements / kTileBlock;

// Whether a loop over the classes of a block goes on at class k.
HWY_INLINE bool HasClass(int64_t k, int64_t classes, Stop stop) {
  return GoesOn(k * kTileBlock, classes * kTileBlock, stop);
}

// The predictions of one block after the other into scratch, widened, and the largest of each
// position. Copied, as the classes of one position may be so far apart that a cache could not hold
// their lines together.
template <Real R, class C>
class LoadStage {
 public:
  HWY_INLINE LoadStage(const TileInput& in, int64_t classes) : in_(in), classes_(classes) {}

  // The block at position i is next, if there is one.
  HWY_INLINE void Begin(int64_t i, C* block) {
    from_ = At<R>(in_.x, i);
    to_ = block;
    width_ = in_.width - i;
    // Not a loop: the compiler would keep them in memory.
    static_assert(kColumns == 4);
    top_[0] = top_[1] = top_[2] = top_[3] = Fill(-kInfinity<C>);
  }

  HWY_INLINE void Class(int64_t k) {
    if (width_ <= 0) return;
    const uint8_t* line = from_ + k * in_.stride * SizeOf(R);
    C* to = to_ + k * kTileBlock;
    FetchAhead(k);
    if (HWY_LIKELY(width_ >= kTileBlock)) {
      for (int64_t c = 0; c < kColumns; ++c) {
        Put(LoadGroup<R, C>(line + c * kGroup * SizeOf(R)), c, to);
      }
      return;
    }
    for (int64_t c = 0; c < kColumns; ++c) {
      const bool any = c * kGroup < width_;
      Put(any ? LoadGroupAt<R, C>(line, c * kGroup, width_, C{0}) : Fill(C{0}), c, to);
    }
  }

  HWY_INLINE void All(Stop stop) {
    for (int64_t k = 0; HasClass(k, classes_, stop); ++k) Class(k);
  }

  // Which of its operands Max returns where one is NaN is the target's affair; such a position's
  // sum is NaN in any case.
  HWY_INLINE const Group<C>& top(int64_t c) const { return top_[c]; }

 private:
  // Classes between a look and its fetch: one class lies where no hardware expects it after
  // another.
  static constexpr int64_t kAhead = 12;

  HWY_INLINE void FetchAhead(int64_t k) const {
    int64_t ahead = k + kAhead;
    int64_t i = 0;
    if (ahead >= classes_) {
      ahead -= classes_;
      i = kTileBlock;
    }
    if (i >= width_ || ahead >= classes_) return;
    const uint8_t* line = from_ + (ahead * in_.stride + i) * SizeOf(R);
    for (int64_t at = 0; at < kTileBlock * SizeOf(R); at += kLineBytes) hwy::Prefetch(line + at);
  }

  HWY_INLINE void Put(const Group<C>& xs, int64_t c, C* to) {
    StoreScratch(xs, to + c * kGroup);
    for (int j = 0; j < kRegisters<C>; ++j) top_[c].v[j] = hn::Max(top_[c].v[j], xs.v[j]);
  }

  const TileInput in_;
  const int64_t classes_;
  const uint8_t* from_ = nullptr;
  C* to_ = nullptr;
  int64_t width_ = 0;
  Group<C> top_[kColumns];
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

// One block after the other out of scratch, scaled: see TileScale.
template <Real R, class C, bool kStreaming>
class ScaleStage {
 public:
  // The block at e is next. factor, label_value and label begin at its first position, `width` is
  // what is left of the tile.
  struct Block {
    const C* e;
    const C* factor;
    const C* label_value;
    const int32_t* label;
    uint8_t* out;
    int64_t width;
  };

  HWY_INLINE ScaleStage(int64_t stride, int64_t classes) : stride_(stride), classes_(classes) {}

  HWY_INLINE void Begin(const Block& block) { block_ = block; }

  HWY_INLINE void Class(int64_t k) const {
    if (block_.width <= 0) return;
    uint8_t* out = block_.out + k * stride_ * SizeOf(R);
    if (HWY_LIKELY(block_.width >= kTileBlock)) {
      for (int64_t c = 0; c < kColumns; ++c) {
        if constexpr (kStreaming) {
          StreamGroup<R, C>(Scaled(k, c), At<R>(out, c * kGroup));
        } else {
          StoreGroupAt<R, C>(Scaled(k, c), out, c * kGroup, kTileBlock);
        }
      }
      return;
    }
    for (int64_t c = 0; c * kGroup < block_.width; ++c) {
      StoreGroupAt<R, C>(Scaled(k, c), out, c * kGroup, block_.width);
    }
  }

  HWY_INLINE void All(Stop stop) const {
    for (int64_t k = 0; HasClass(k, classes_, stop); ++k) Class(k);
  }

 private:
  HWY_INLINE Group<C> Scaled(int64_t k, int64_t c) const {
    const int64_t i = c * kGroup;
    Group<C> g = LoadScratch(block_.e + k * kTileBlock + i);
    const Group<C> factor = LoadScratch(block_.factor + i);
    const Group<C> value = LoadScratch(block_.label_value + i);
    for (int j = 0; j < kRegisters<C>; ++j) {
      const auto scaled = Product<C>(g.v[j], factor.v[j]);
      const auto here = LabelMask<C>(block_.label + i + j * kLanes<C>, k);
      g.v[j] = hn::IfThenElse(here, value.v[j], scaled);
    }
    return g;
  }

  const int64_t stride_;
  const int64_t classes_;
  Block block_ = {};
};

// Where nothing is to be scaled.
template <class C>
struct NoScaleStage {
  HWY_INLINE void Class(int64_t) const {}
};

// Whether every line of the output begins and goes on where a cache line does.
template <Real R, class C>
HWY_INLINE bool StreamsTile(const TileOutput& to) {
  const auto address = reinterpret_cast<uintptr_t>(to.out);
  return kCanStream<R, C> && to.streaming && address % kLineBytes == 0 &&
         to.stride * SizeOf(R) % kLineBytes == 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
