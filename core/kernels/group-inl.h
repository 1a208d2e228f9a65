// The alias layer between Highway and the kernel bodies. Compiled once per target.
//
// A group is kGroup consecutive elements in as many registers as the target needs for them: one on
// AVX-512, two on AVX2, four on SSE4 for float. Bodies loop over groups and never see a register's
// width, which is what makes sums the same on every target.

#if defined(LOSSD_CORE_KERNELS_GROUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_GROUP_INL_H_
#undef LOSSD_CORE_KERNELS_GROUP_INL_H_
#else
#define LOSSD_CORE_KERNELS_GROUP_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/kernels/kernels.h"
#include "core/kernels/narrow.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class C>
using Tag = hn::CappedTag<C, kGroup>;
template <class C>
using Vec = hn::Vec<Tag<C>>;
template <class C>
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag<C>()));
template <class C>
constexpr int kRegisters = static_cast<int>(kGroup) / kLanes<C>;

// The type a format is computed in.
template <Real R>
using ComputeOf = std::conditional_t<R == Real::kF64, double, float>;

template <class C>
constexpr Compute kComputeOf = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;

template <class C>
constexpr C kInfinity = std::numeric_limits<C>::infinity();

template <class C>
struct Group {
  // In line, so that it is compiled for the target: on ARM registers exist for no other function.
  HWY_INLINE Group() {}  // NOLINT(modernize-use-equals-default)

  Vec<C> v[kRegisters<C>];
};

// The value, and the NaN of every output for any NaN: processors differ in the sign of one that
// they make (inf - inf), and in which of two they keep.
template <class C>
HWY_INLINE Vec<C> OneNaN(Vec<C> v) {
  const auto nan = hn::Set(Tag<C>(), std::numeric_limits<C>::quiet_NaN());
  return hn::IfThenElse(hn::IsNaN(v), nan, v);
}

template <class C>
HWY_INLINE Group<C> Fill(C value) {
  Group<C> group;
  for (auto& v : group.v) v = hn::Set(Tag<C>(), value);
  return group;
}

// Bytes of element `i` of an array in format R.
template <Real R>
HWY_INLINE const uint8_t* At(const void* base, int64_t i) {
  return static_cast<const uint8_t*>(base) + i * SizeOf(R);
}
template <Real R>
HWY_INLINE uint8_t* At(void* base, int64_t i) {
  return static_cast<uint8_t*>(base) + i * SizeOf(R);
}

// Whether this target converts binary16 and masks 16-bit loads by itself.
constexpr bool kNativeF16 = HWY_TARGET <= HWY_AVX2;
constexpr bool kNativeMasks = HWY_TARGET <= HWY_AVX3;

template <class C, class V>
HWY_INLINE Vec<C> ConvertFloat(V narrow) {
  if constexpr (std::is_same_v<C, float>) {
    return narrow;
  } else {
    return hn::PromoteTo(Tag<double>(), narrow);
  }
}

// kLanes<C> elements of format R, widened (or, f64 to float, rounded) to C.
template <Real R, class C>
HWY_INLINE Vec<C> LoadRegister(const uint8_t* from) {
  const Tag<C> d;
  if constexpr (R == Real::kF64 && std::is_same_v<C, float>) {
    alignas(64) float lanes[kLanes<C>];
    for (int i = 0; i < kLanes<C>; ++i) {
      double wide;
      std::memcpy(&wide, from + 8 * i, 8);
      lanes[i] = static_cast<float>(wide);
    }
    return hn::Load(d, lanes);
  } else if constexpr (R == Real::kF64) {
    return hn::LoadU(d, reinterpret_cast<const double*>(from));
  } else {
    const hn::Rebind<float, Tag<C>> df;
    if constexpr (R == Real::kF32) {
      return ConvertFloat<C>(hn::LoadU(df, reinterpret_cast<const float*>(from)));
    } else {
      const hn::Rebind<uint16_t, Tag<C>> du16;
      const auto bits = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(from));
      if constexpr (R == Real::kBF16) {
        const hn::Rebind<uint32_t, Tag<C>> du32;
        return ConvertFloat<C>(hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du32, bits))));
      } else if constexpr (kNativeF16) {
        const hn::Rebind<hwy::float16_t, Tag<C>> df16;
        return ConvertFloat<C>(hn::PromoteTo(df, hn::BitCast(df16, bits)));
      } else {
        alignas(64) float lanes[kLanes<C>];
        for (int i = 0; i < kLanes<C>; ++i) {
          uint16_t half;
          std::memcpy(&half, from + 2 * i, 2);
          lanes[i] = WidenF16(half);
        }
        return ConvertFloat<C>(hn::Load(df, lanes));
      }
    }
  }
}

template <Real R, class C>
HWY_INLINE Group<C> LoadGroup(const uint8_t* from) {
  Group<C> group;
  for (int j = 0; j < kRegisters<C>; ++j) {
    group.v[j] = LoadRegister<R, C>(from + j * kLanes<C> * SizeOf(R));
  }
  return group;
}

// The first `count` elements (0 < count < kGroup) and `fill` behind them. Reads nothing behind
// them.
template <Real R, class C>
HWY_INLINE Group<C> LoadPartialGroup(const uint8_t* from, int64_t count, C fill) {
  const Tag<C> d;
  Group<C> group;
  if constexpr (kNativeMasks && R == Real::kF32 && std::is_same_v<C, float>) {
    const auto mask = hn::FirstN(d, static_cast<size_t>(count));
    group.v[0] = hn::IfThenElse(mask, hn::MaskedLoad(mask, d, reinterpret_cast<const float*>(from)),
                                hn::Set(d, fill));
  } else {
    alignas(64) uint8_t padded[kGroup * SizeOf(R)] = {};
    std::memcpy(padded, from, count * SizeOf(R));
    group = LoadGroup<R, C>(padded);
    for (int j = 0; j < kRegisters<C>; ++j) {
      const int64_t valid = std::clamp<int64_t>(count - j * kLanes<C>, 0, kLanes<C>);
      group.v[j] =
          hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(valid)), group.v[j], hn::Set(d, fill));
    }
  }
  return group;
}

// The group at element k of a row of n.
template <Real R, class C>
HWY_INLINE Group<C> LoadGroupAt(const void* row, int64_t k, int64_t n, C fill) {
  const uint8_t* from = At<R>(row, k);
  if (HWY_LIKELY(k + kGroup <= n)) return LoadGroup<R, C>(from);
  return LoadPartialGroup<R, C>(from, n - k, fill);
}

// Scratch is of the compute type and has slack, so that whole groups may be touched at its end.
template <class C>
constexpr Real kOwnFormat = std::is_same_v<C, float> ? Real::kF32 : Real::kF64;
template <class C>
HWY_INLINE Group<C> LoadScratch(const C* from) {
  return LoadGroup<kOwnFormat<C>, C>(reinterpret_cast<const uint8_t*>(from));
}
template <class C>
HWY_INLINE void StoreScratch(const Group<C>& group, C* to) {
  for (int j = 0; j < kRegisters<C>; ++j) hn::StoreU(group.v[j], Tag<C>(), to + j * kLanes<C>);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
