#include "tests/support/real.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace lossd::oracle {
namespace {

static_assert(std::numeric_limits<Real>::digits >= 64, "the oracle needs more bits than f64 has");

template <class T>
T Load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <class T>
void Save(T value, std::byte* bytes) {
  std::memcpy(bytes, &value, sizeof value);
}

// Sign, exponent and fraction of a 16-bit format, put together by the definition.
Real DecodeSmall(uint16_t bits, const Format& format) {
  const int fraction_bits = format.precision - 1;
  const int exponent_bits = 15 - fraction_bits;
  const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const Real sign = (bits >> 15) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction != 0 ? std::numeric_limits<Real>::quiet_NaN()
                         : sign * std::numeric_limits<Real>::infinity();
  }
  if (exponent == 0) {
    return sign * std::ldexp(Real(fraction), format.min_exponent - fraction_bits);
  }
  return sign * std::ldexp(Real(fraction + (1 << fraction_bits)),
                           format.min_exponent + exponent - 1 - fraction_bits);
}

// Precondition: `value` is in the format, an infinity or a NaN.
uint16_t EncodeSmall(Real value, const Format& format) {
  const int fraction_bits = format.precision - 1;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const auto all_ones = static_cast<uint16_t>(0x7fff & ~((1 << fraction_bits) - 1));
  if (std::isnan(value)) return all_ones | (1 << (fraction_bits - 1));
  if (std::isinf(value)) return sign | all_ones;
  const Real magnitude = std::fabs(value);
  if (magnitude < std::ldexp(Real(1), format.min_exponent)) {
    return sign | static_cast<uint16_t>(std::ldexp(magnitude, fraction_bits - format.min_exponent));
  }
  const int exponent = std::ilogb(magnitude);
  const auto significand = static_cast<int>(std::ldexp(magnitude, fraction_bits - exponent));
  return sign | static_cast<uint16_t>(((exponent - format.min_exponent + 1) << fraction_bits) +
                                      (significand - (1 << fraction_bits)));
}

// The distance between neighbours at `value`.
Real Ulp(const Format& format, Real value) {
  const Real magnitude = std::fabs(value);
  const int exponent = magnitude < std::ldexp(Real(1), format.min_exponent) ? format.min_exponent
                                                                            : std::ilogb(magnitude);
  return std::ldexp(Real(1), exponent - (format.precision - 1));
}

}  // namespace

Format FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return {53, -1022, 1023};
    case DType::kF16:
      return {11, -14, 15};
    case DType::kBF16:
      return {8, -126, 127};
    default:
      return {24, -126, 127};
  }
}

Real UnitRoundoff(DType dtype) { return std::ldexp(Real(1), -FormatOf(dtype).precision); }

Real SmallestNormal(DType dtype) { return std::ldexp(Real(1), FormatOf(dtype).min_exponent); }

Real MaxFinite(DType dtype) {
  const Format format = FormatOf(dtype);
  return std::ldexp(2 - std::ldexp(Real(1), 1 - format.precision), format.max_exponent);
}

Real HalfUlp(DType dtype, Real value) {
  if (!std::isfinite(value)) return 0;
  return Ulp(FormatOf(dtype), std::fmin(std::fabs(value), MaxFinite(dtype))) / 2;
}

Real RoundTo(DType dtype, Real value) {
  if (!std::isfinite(value) || value == 0) return value;
  const Real ulp = Ulp(FormatOf(dtype), value);
  const Real rounded = std::rint(value / ulp) * ulp;  // a power of two: the quotient is exact
  if (std::fabs(rounded) > MaxFinite(dtype)) {
    return std::copysign(std::numeric_limits<Real>::infinity(), value);
  }
  return rounded;
}

Real Widen(DType dtype, const std::byte* bytes) {
  switch (dtype) {
    case DType::kF32:
      return Load<float>(bytes);
    case DType::kF64:
      return Load<double>(bytes);
    case DType::kF16:
    case DType::kBF16:
      return DecodeSmall(Load<uint16_t>(bytes), FormatOf(dtype));
    case DType::kI8:
      return Load<int8_t>(bytes);
    case DType::kI16:
      return Load<int16_t>(bytes);
    case DType::kI32:
      return Load<int32_t>(bytes);
    case DType::kI64:
      return Load<int64_t>(bytes);
    case DType::kU8:
      return Load<uint8_t>(bytes);
    case DType::kU16:
      return Load<uint16_t>(bytes);
    case DType::kU32:
      return Load<uint32_t>(bytes);
    case DType::kU64:
      return Load<uint64_t>(bytes);
  }
  return std::numeric_limits<Real>::quiet_NaN();
}

void Store(DType dtype, Real value, std::byte* bytes) {
  switch (dtype) {
    case DType::kF32:
      return Save(static_cast<float>(RoundTo(dtype, value)), bytes);
    case DType::kF64:
      return Save(static_cast<double>(RoundTo(dtype, value)), bytes);
    case DType::kF16:
    case DType::kBF16:
      return Save(EncodeSmall(RoundTo(dtype, value), FormatOf(dtype)), bytes);
    case DType::kI8:
      return Save(static_cast<int8_t>(value), bytes);
    case DType::kI16:
      return Save(static_cast<int16_t>(value), bytes);
    case DType::kI32:
      return Save(static_cast<int32_t>(value), bytes);
    case DType::kI64:
      return Save(static_cast<int64_t>(value), bytes);
    case DType::kU8:
      return Save(static_cast<uint8_t>(value), bytes);
    case DType::kU16:
      return Save(static_cast<uint16_t>(value), bytes);
    case DType::kU32:
      return Save(static_cast<uint32_t>(value), bytes);
    case DType::kU64:
      return Save(static_cast<uint64_t>(value), bytes);
  }
}

}  // namespace lossd::oracle
