#ifndef LOSSD_TESTS_CORE_MATCHERS_H_
#define LOSSD_TESTS_CORE_MATCHERS_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "gmock/gmock.h"
#include "lossd/tensor.h"
#include "tests/support/real.h"

namespace lossd::oracle {

// |got - want| / bound: at most 1 where `got` conforms. NaN answers to NaN alone, an infinity to
// the same infinity, or to a finite `want` which, bound included, rounds to it in `out`. A bound of
// 0 asks for equality, and for +0 where `want` is 0; one of kZeroOrNan (NaN), where it is 0, for +0
// or NaN.
inline Real ErrorRatio(Real got, Real want, Real bound, DType out) {
  constexpr Real kFailed = std::numeric_limits<Real>::infinity();
  const bool plus_zero = got == 0 && !std::signbit(got);
  if (want == 0 && std::isnan(bound)) return std::isnan(got) || plus_zero ? 0 : kFailed;
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0 : kFailed;
  if (std::isinf(want)) return got == want ? 0 : kFailed;
  if (std::isinf(got)) {
    return RoundTo(out, want + std::copysign(bound, got)) == got ? 0 : kFailed;
  }
  if (want == 0 && bound == 0) return plus_zero ? 0 : kFailed;
  const Real free = std::fmin(HalfUlp(out, want), bound);
  const Real excess = std::fabs(got - want) - free;
  if (excess <= 0) return 0;
  return bound == free ? kFailed : excess / (bound - free);
}

MATCHER_P2(NearWithin, want, bound, "") {
  const Real ratio = ErrorRatio(arg, want, bound, DType::kF64);
  *result_listener << "error/bound is " << static_cast<double>(ratio);
  return ratio <= 1;
}

// Equality of memory. `expected` is anything convertible to ByteSpan.
MATCHER_P(SameBits, expected, "") {
  const ByteSpan got = arg;
  const ByteSpan want = expected;
  if (got.size() != want.size()) {
    *result_listener << got.size() << " bytes, wanted " << want.size();
    return false;
  }
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] != want[i]) {
      *result_listener << "byte " << i << " of " << got.size() << " differs";
      return false;
    }
  }
  return true;
}

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_MATCHERS_H_
