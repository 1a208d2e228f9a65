#ifndef LOSSD_CORE_KERNELS_NARROW_H_
#define LOSSD_CORE_KERNELS_NARROW_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/kernels/kernels.h"

// One number at a time between double or float and the formats in memory. Every narrowing rounds
// once, to nearest even.

namespace lossd::kernels {

inline float WidenBF16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline uint16_t NarrowBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float WidenF16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  // As the hardware does, a signalling NaN becomes quiet.
  const uint32_t quiet = exponent == 0x1f && fraction != 0 ? 0x00400000u : 0;
  const uint32_t biased = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | (biased << 23) | (fraction << 13) | quiet);
}

inline uint16_t NarrowF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  }
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the unit is 2^-24: adding 0.5 (unit 2^-24) lets the hardware round.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

// To float with the last bit set if anything was lost, so that a second rounding to a narrower
// format is the only one that counts.
inline float RoundToOdd(double value) {
  const auto nearest = static_cast<float>(value);
  const auto back = static_cast<double>(nearest);
  if (back == value || std::isnan(value)) return nearest;
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (std::fabs(back) > std::fabs(value)) --bits;  // towards zero; from infinity to the largest
  return std::bit_cast<float>(bits | 1);
}

inline double Load(Real real, const void* from) {
  switch (real) {
    case Real::kF32: {
      float value;
      std::memcpy(&value, from, sizeof value);
      return value;
    }
    case Real::kF64: {
      double value;
      std::memcpy(&value, from, sizeof value);
      return value;
    }
    case Real::kF16:
    case Real::kBF16: {
      uint16_t bits;
      std::memcpy(&bits, from, sizeof bits);
      return real == Real::kF16 ? WidenF16(bits) : WidenBF16(bits);
    }
  }
  __builtin_unreachable();
}

// A zero is stored without its sign, which what underflows has, and of NaNs the quiet one.
inline void Store(Real real, double value, void* to) {
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  switch (real) {
    case Real::kF32: {
      const float narrow = static_cast<float>(value) + 0.0F;
      std::memcpy(to, &narrow, sizeof narrow);
      return;
    }
    case Real::kF64:
      value += 0.0;
      std::memcpy(to, &value, sizeof value);
      return;
    case Real::kF16:
    case Real::kBF16: {
      const float odd = RoundToOdd(value);
      const uint16_t narrow = real == Real::kF16 ? NarrowF16(odd) : NarrowBF16(odd);
      const uint16_t bits = narrow == 0x8000 ? 0 : narrow;
      std::memcpy(to, &bits, sizeof bits);
      return;
    }
  }
}

// To the compute type, infinity made the largest finite number: a class of probability 0 times an
// infinite factor would be NaN.
template <class C>
C ToFinite(double value) {
  constexpr double kMax = std::numeric_limits<C>::max();
  const double capped = value > kMax ? kMax : value;  // NaN passes both
  return static_cast<C>(capped < -kMax ? -kMax : capped);
}

constexpr int64_t SizeOf(Real real) { return real == Real::kF32 ? 4 : real == Real::kF64 ? 8 : 2; }

}  // namespace lossd::kernels

#endif  // LOSSD_CORE_KERNELS_NARROW_H_
