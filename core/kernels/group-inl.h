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
#include "hwy/cache_control.h"
#include "hwy/contrib/math/math-inl.h"
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
constexpr C kInfinity = std::numeric_limits<C>::infinity();

template <class C>
struct Group {
  Vec<C> v[kRegisters<C>];
};

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

// ------------------------------------------------------------------------------------- loads

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

// ------------------------------------------------------------------------------------ stores

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
  return hn::TruncateTo(du16, rounded);
}

template <Real R, class C, Values kValues = Values::kAny>
HWY_INLINE void StoreRegister(Vec<C> v, uint8_t* to) {
  const Tag<C> d;
  if constexpr (R == kOwnFormat<C>) {
    hn::StoreU(v, d, reinterpret_cast<C*>(to));
  } else if constexpr (R == Real::kF32) {
    const hn::Rebind<float, Tag<C>> df;
    hn::StoreU(hn::DemoteTo(df, v), df, reinterpret_cast<float*>(to));
  } else if constexpr (R == Real::kBF16 && std::is_same_v<C, float>) {
    const hn::Rebind<uint16_t, Tag<C>> du16;
    hn::StoreU(NarrowToBF16<kValues>(v), du16, reinterpret_cast<uint16_t*>(to));
  } else if constexpr (R == Real::kF16 && std::is_same_v<C, float> && kNativeF16) {
    const hn::Rebind<hwy::float16_t, Tag<C>> df16;
    hn::StoreU(hn::DemoteTo(df16, v), df16, reinterpret_cast<hwy::float16_t*>(to));
  } else {
    alignas(64) C lanes[kLanes<C>];
    hn::Store(v, d, lanes);
    for (int i = 0; i < kLanes<C>; ++i) kernels::Store(R, lanes[i], to + i * SizeOf(R));
  }
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
      if (aligned > k) StoreGroupAt<R, C>(value(k), row, k, aligned);
      for (k = aligned; k + kGroup <= end; k += kGroup) {
        StreamGroup<R, C>(value(k), At<R>(row, k));
      }
    }
  }
  for (; k < end; k += kGroup) StoreGroupAt<R, C>(value(k), row, k, end);
}

// e * scale. Adding +0 turns -0 (a masked class under a negative factor) into +0.
template <class C>
HWY_INLINE Group<C> ScaleGroup(Group<C> e, Vec<C> scale) {
  for (auto& v : e.v) v = hn::MulAdd(v, scale, hn::Zero(Tag<C>()));
  return e;
}

// -------------------------------------------------------------------------------------- sums

// A fixed tree over the virtual lanes.
HWY_INLINE double SumLanes(const Group<double>& group) {
  alignas(64) double lanes[kGroup];
  for (int j = 0; j < kRegisters<double>; ++j) {
    hn::Store(group.v[j], Tag<double>(), lanes + j * kLanes<double>);
  }
  double half[8];
  for (int i = 0; i < 8; ++i) half[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; ++i) half[i] += half[i + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}

// kGroup running sums in double, each with the rounding errors of its additions beside it.
struct Sum64 {
  Group<double> high;
  Group<double> low;

  // Spelt out, here and below: a constructor that the compiler supplies is not compiled for the
  // target.
  HWY_INLINE Sum64() : high(Fill(0.0)), low(Fill(0.0)) {}

  // Knuth's exact two-term sum, so that long rows cost no accuracy.
  HWY_INLINE void Add(const Group<double>& term) {
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto sum = hn::Add(high.v[j], term.v[j]);
      const auto part = hn::Sub(sum, high.v[j]);
      const auto error = hn::Add(hn::Sub(high.v[j], hn::Sub(sum, part)), hn::Sub(term.v[j], part));
      high.v[j] = sum;
      // The error of an infinite sum is NaN and means nothing.
      low.v[j] = hn::Add(low.v[j], hn::IfThenElseZero(hn::Eq(error, error), error));
    }
  }
  HWY_INLINE double Total() const {
    Group<double> both;
    for (int j = 0; j < kRegisters<double>; ++j) both.v[j] = hn::Add(high.v[j], low.v[j]);
    return SumLanes(both);
  }
};

template <class C>
HWY_INLINE Group<double> Widen(const Group<C>& group) {
  const Tag<double> dd;
  if constexpr (std::is_same_v<C, double>) {
    return group;
  } else {
    Group<double> wide;
#if HWY_TARGET == HWY_SCALAR
    for (int j = 0; j < kRegisters<C>; ++j) wide.v[j] = hn::PromoteTo(dd, group.v[j]);
#else
    const hn::Half<Tag<C>> half;
    for (int j = 0; j < kRegisters<C>; ++j) {
      wide.v[2 * j] = hn::PromoteTo(dd, hn::LowerHalf(half, group.v[j]));
      wide.v[2 * j + 1] = hn::PromoteTo(dd, hn::UpperHalf(half, group.v[j]));
    }
#endif
    return wide;
  }
}

// Running sums in double that come from floats: 29 spare bits make a plain sum exact enough.
struct WideSum {
  Group<double> total;

  HWY_INLINE WideSum() : total(Fill(0.0)) {}

  template <class C>
  HWY_INLINE void Add(const Group<C>& term) {
    const Group<double> wide = Widen(term);
    for (int j = 0; j < kRegisters<double>; ++j) total.v[j] = hn::Add(total.v[j], wide.v[j]);
  }
  HWY_INLINE double Total() const { return SumLanes(total); }
};

// Floats are summed in short stretches of groups, so that the conversion to double is paid once per
// stretch. Error of a stretch: at most kStretch - 1 roundings.
constexpr int kStretch = 8;

// Sums over a row in double, by compute type.
template <class C>
using ValueSum = std::conditional_t<std::is_same_v<C, float>, WideSum, Sum64>;

// ----------------------------------------------------------------------------- exponentials

// Max(low, d), but NaN where d is NaN: which of its operands Max returns then is the target's
// affair.
HWY_INLINE Vec<float> AtLeast(Vec<float> low, Vec<float> d) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Lt(d, low), low, d);
#else
  return hn::Max(low, d);  // x86: the second
#endif
}

// e^d * 2^24 for d <= 0 in float, NaN for NaN. Relative error below 2^-23 from -103.9 up, where the
// result is a normal number; exactly 0 from -105 down; less than 2^-125 between. (Seen over all
// floats: tests/core/exponential_test.cc.) |r| <= ln2/2: e^r = 1 + r + r^2 q(r), q minimax of
// degree 4 weighted for relative error (0.07 u).
template <int kCount>
HWY_INLINE void ScaledExps(Vec<float> (&d)[kCount]) {
  const Tag<float> tag;
  const hn::RebindToUnsigned<Tag<float>> bits;
  // Adding 1.5 * 2^23 rounds to an integer n in the low bits; 151 more makes them the biased
  // exponent of 2^(n + 24).
  const auto magic = hn::Set(tag, 12582912.0f + 151.0f);
  Vec<float> power[kCount];
  Vec<float> r[kCount];
  Vec<float> q[kCount];
  // Step by step for all of them: one alone would wait for each of its steps.
  const auto each = [](auto step) HWY_ATTR {
    for (int j = 0; j < kCount; ++j) step(j);
  };
  // At -105 the exponent below is 0, and so the power.
  each([&](int j) HWY_ATTR { d[j] = AtLeast(hn::Set(tag, -105.0f), d[j]); });
  each([&](int j) HWY_ATTR { power[j] = hn::MulAdd(d[j], hn::Set(tag, 1.44269504f), magic); });
  each([&](int j) HWY_ATTR { q[j] = hn::Sub(power[j], magic); });
  each([&](int j) HWY_ATTR { r[j] = hn::NegMulAdd(q[j], hn::Set(tag, 0.693359375f), d[j]); });
  each([&](int j) HWY_ATTR { r[j] = hn::NegMulAdd(q[j], hn::Set(tag, -2.12194440e-4f), r[j]); });
  each([&](int j) HWY_ATTR {
    q[j] = hn::MulAdd(hn::Set(tag, 0x1.6a2256p-10f), r[j], hn::Set(tag, 0x1.123b02p-7f));
  });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], r[j], hn::Set(tag, 0x1.5558f8p-5f)); });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], r[j], hn::Set(tag, 0x1.555490p-3f)); });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], r[j], hn::Set(tag, 0x1.fffffcp-2f)); });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], hn::Mul(r[j], r[j]), r[j]); });
  each([&](int j) HWY_ATTR {
    power[j] = hn::BitCast(tag, hn::ShiftLeft<23>(hn::BitCast(bits, power[j])));
  });
  each([&](int j) HWY_ATTR { d[j] = hn::MulAdd(q[j], power[j], power[j]); });
}

HWY_INLINE Vec<float> ScaledExp(Vec<float> d) {
  Vec<float> only[1] = {d};
  ScaledExps(only);
  return only[0];
}

// Groups whose exponentials are computed side by side: as many as the registers hold.
constexpr int kSideBySide = HWY_TARGET <= HWY_AVX3 ? 4 : 1;

// e^d for d <= 0 in double, NaN for NaN.
HWY_INLINE Vec<double> Exp64(Vec<double> d) {
  const Tag<double> tag;
  return hn::IfThenElse(hn::IsNaN(d), d, hn::Exp(tag, d));
}

HWY_INLINE double ExpScalar(double d) { return hn::GetLane(Exp64(hn::Set(Tag<double>(), d))); }

// e^(x - peak) in double with the rounding error of the difference made good, so that the relative
// error does not grow with the distance.
HWY_INLINE Vec<double> ExpOfDifference(Vec<double> x, Vec<double> peak) {
  const auto d = hn::Sub(x, peak);
  const auto part = hn::Sub(d, x);
  const auto error = hn::Sub(hn::Sub(x, hn::Sub(d, part)), hn::Add(peak, part));
  const auto e = Exp64(d);
  // At infinite distance the error is NaN and e is exact.
  return hn::IfThenElse(hn::Eq(e, hn::Zero(Tag<double>())), e, hn::MulAdd(e, error, e));
}

template <class C>
HWY_INLINE C MaxOfLanes(const Group<C>& group) {
  auto top = group.v[0];
  for (int j = 1; j < kRegisters<C>; ++j) top = hn::Max(top, group.v[j]);
  return hn::GetLane(hn::MaxOfLanes(Tag<C>(), top));
}

// Largest element of a row; anything if the row holds a NaN.
template <Real R, class C>
HWY_INLINE C Peak(const void* x, int64_t n) {
  Group<C> a = Fill(-kInfinity<C>);
  Group<C> b = a;
  int64_t k = 0;
  for (; k + 2 * kGroup <= n; k += 2 * kGroup) {
    const Group<C> xa = LoadGroup<R, C>(At<R>(x, k));
    const Group<C> xb = LoadGroup<R, C>(At<R>(x, k + kGroup));
    for (int j = 0; j < kRegisters<C>; ++j) a.v[j] = hn::Max(a.v[j], xa.v[j]);
    for (int j = 0; j < kRegisters<C>; ++j) b.v[j] = hn::Max(b.v[j], xb.v[j]);
  }
  for (; k < n; k += kGroup) {
    const Group<C> xa = LoadGroupAt<R, C>(x, k, n, -kInfinity<C>);
    for (int j = 0; j < kRegisters<C>; ++j) a.v[j] = hn::Max(a.v[j], xa.v[j]);
  }
  for (int j = 0; j < kRegisters<C>; ++j) a.v[j] = hn::Max(a.v[j], b.v[j]);
  return MaxOfLanes(a);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
