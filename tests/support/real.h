#ifndef LOSSD_TESTS_SUPPORT_REAL_H_
#define LOSSD_TESTS_SUPPORT_REAL_H_

#include <cstddef>
#include <cstdint>

#include "lossd/dtype.h"

// Numbers of every dtype as long double, in which the oracle computes (64-bit significand on x86:
// f32 results carry 40 bits to spare, f64 results 11). Nothing here is shared with the core.
namespace lossd::oracle {

using Real = long double;

// The binary floating-point formats, described rather than programmed: everything below follows
// from these three numbers.
struct Format {
  int precision;     // bits of the significand, the hidden one included
  int min_exponent;  // 2^min_exponent is the smallest normal number
  int max_exponent;  // finite numbers are below 2^(max_exponent + 1)
};
// Precondition: a floating dtype.
Format FormatOf(DType dtype);

// 2^-precision: the largest relative error of one rounding to nearest.
Real UnitRoundoff(DType dtype);
Real SmallestNormal(DType dtype);
Real MaxFinite(DType dtype);

// Half the distance between the neighbours of `value` in the format, denormals included.
Real HalfUlp(DType dtype, Real value);

// What rounding to nearest even makes of `value`; an infinity beyond the largest finite number.
Real RoundTo(DType dtype, Real value);

// The element at `bytes`, exactly; any dtype, any alignment.
Real Widen(DType dtype, const std::byte* bytes);

// Stores RoundTo(dtype, value), or the integer `value` for integer dtypes (precondition: in range).
// A NaN is stored as the format's default quiet NaN.
void Store(DType dtype, Real value, std::byte* bytes);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_REAL_H_
