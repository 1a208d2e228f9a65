// Groups to memory: rounded to a format, past the caches where wanted. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_STORES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_STORES_INL_H_
#undef LOSSD_CORE_KERNELS_STORES_INL_H_
#else
#define LOSSD_CORE_KERNELS_STORES_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/kernels/group-inl.h"
#include "core/kernels/kernels.h"
#include "core/kernels/narrow.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// Bits of a 16-bit float, -0 made +0: a number that underflows keeps its sign when it is narrowed.
template <class D>
HWY_INLINE hn::Vec<D> WithoutMinusZero(D du16, hn::Vec<D> bits) {
  return hn::IfThenZeroElse(hn::Eq(bits, hn::Set(du16, uint16_t{0x8000})), bits);
}

// Whether a value to be rounded to bf16 may be NaN, which then must not be rounded like a number.
enum class Values : int8_t { kAny, kNumbers };

// To bf16, nearest even.
template <Values kValues>
HWY_INLINE hn::Vec<hn::Rebind<uint16_t, Tag<float>>> NarrowToBF16(Vec<float> v) {
  const hn::RebindToUnsigned<Tag<float>> du;
  const hn::Rebind<uint16_t, Tag<float>> du16;
  const auto bits = hn::BitCast(du, v);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(du, 1));
  auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff))));
  if constexpr (kValues == Values::kAny) {
    const auto quiet = hn::Or(upper, hn::Set(du, 0x40));
    rounded = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  }
  return WithoutMinusZero(du16, hn::TruncateTo(du16, rounded));
}

template <Real R, class C, Values kValues = Values::kAny>
HWY_INLINE void StoreRegister(Vec<C> v, uint8_t* to) {
  const Tag<C> d;
  if constexpr (R == kOwnFormat<C>) {
    hn::StoreU(v, d, reinterpret_cast<C*>(to));
  } else if constexpr (R == Real::kF32) {
    const hn::Rebind<float, Tag<C>> df;
    hn::StoreU(hn::Add(hn::DemoteTo(df, v), hn::Zero(df)), df, reinterpret_cast<float*>(to));
  } else if constexpr (R == Real::kBF16 && std::is_same_v<C, float>) {
    const hn::Rebind<uint16_t, Tag<C>> du16;
    hn::StoreU(NarrowToBF16<kValues>(v), du16, reinterpret_cast<uint16_t*>(to));
  } else if constexpr (R == Real::kF16 && std::is_same_v<C, float> && kNativeF16) {
    const hn::Rebind<hwy::float16_t, Tag<C>> df16;
    const hn::Rebind<uint16_t, Tag<C>> du16;
    const auto bits = hn::BitCast(du16, hn::DemoteTo(df16, v));
    hn::StoreU(WithoutMinusZero(du16, bits), du16, reinterpret_cast<uint16_t*>(to));
  } else {
    alignas(64) C lanes[kLanes<C>];
    hn::Store(v, d, lanes);
    for (int i = 0; i < kLanes<C>; ++i) kernels::Store(R, lanes[i], to + i * SizeOf(R));
  }
}

// a * b. Adding +0 turns -0 into +0: a masked class under a negative factor, and what underflows.
// Not a fused operation, which would keep the sign of the latter.
template <class C>
HWY_INLINE Vec<C> Product(Vec<C> a, Vec<C> b) {
  return hn::Add(hn::Mul(a, b), hn::Zero(Tag<C>()));
}

template <class C>
HWY_INLINE Group<C> ScaleGroup(Group<C> e, Vec<C> scale) {
  for (auto& v : e.v) v = Product<C>(v, scale);
  return e;
}

// Stores the group at element k of a row of n, and nothing behind the row.
template <Real R, class C, Values kValues = Values::kAny>
HWY_INLINE void StoreGroupAt(const Group<C>& group, void* row, int64_t k, int64_t n) {
  uint8_t* to = At<R>(row, k);
  if (HWY_LIKELY(k + kGroup <= n)) {
    for (int j = 0; j < kRegisters<C>; ++j) {
      StoreRegister<R, C, kValues>(group.v[j], to + j * kLanes<C> * SizeOf(R));
    }
    return;
  }
  if constexpr (kNativeMasks && R == Real::kF32 && std::is_same_v<C, float>) {
    const Tag<C> d;
    hn::BlendedStore(group.v[0], hn::FirstN(d, static_cast<size_t>(n - k)), d,
                     reinterpret_cast<float*>(to));
    return;
  }
  alignas(64) uint8_t padded[kGroup * SizeOf(R)];
  for (int j = 0; j < kRegisters<C>; ++j) {
    StoreRegister<R, C, kValues>(group.v[j], padded + j * kLanes<C> * SizeOf(R));
  }
  std::memcpy(to, padded, (n - k) * SizeOf(R));
}

// Streaming: whole cache lines are written past the caches, without being read first. FlushStream
// must follow.
constexpr int64_t kLineBytes = 64;
template <Real R, class C>
constexpr bool kCanStream = R == kOwnFormat<C> ||
                            (R == Real::kBF16 && std::is_same_v<C, float> && kLanes<C> >= 8);
template <Real R, class C>
HWY_INLINE bool CanStream(const void* row) {
  return kCanStream<R, C> && reinterpret_cast<uintptr_t>(row) % SizeOf(R) == 0;
}
// Elements from `at` to the beginning of a line.
template <Real R>
HWY_INLINE int64_t ToLine(const void* at) {
  return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(at) % kLineBytes) / SizeOf(R);
}
template <Real R, class C, Values kValues = Values::kAny>
HWY_INLINE void StreamGroup(const Group<C>& group, uint8_t* to) {
  for (int j = 0; j < kRegisters<C>; ++j) {
    uint8_t* part = to + j * kLanes<C> * SizeOf(R);
    if constexpr (R == Real::kBF16) {
      const hn::Rebind<uint16_t, Tag<C>> du16;
      hn::Stream(NarrowToBF16<kValues>(group.v[j]), du16, reinterpret_cast<uint16_t*>(part));
    } else {
      hn::Stream(group.v[j], Tag<C>(), reinterpret_cast<C*>(part));
    }
  }
}

// Stores elements [begin, end) of a row, value(k) being the group at element k.
template <Real R, class C, class Value>
HWY_INLINE void StoreRow(void* row, int64_t begin, int64_t end, bool streaming, Value value) {
  int64_t k = begin;
  if constexpr (kCanStream<R, C>) {
    if (streaming && CanStream<R, C>(row)) {
      const int64_t aligned = std::min(end, k + ToLine<R>(At<R>(row, k)));
      // A line of 16-bit numbers is longer than a group.
      for (; k < aligned; k += kGroup) StoreGroupAt<R, C>(value(k), row, k, aligned);
      for (k = aligned; k + kGroup <= end; k += kGroup) {
        StreamGroup<R, C>(value(k), At<R>(row, k));
      }
    }
  }
  for (; k < end; k += kGroup) StoreGroupAt<R, C>(value(k), row, k, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
