#ifndef LOSSD_TESTS_CORE_BITS_MAKER_H_
#define LOSSD_TESTS_CORE_BITS_MAKER_H_

#include <cstdint>
#include <string_view>

#include "tests/core/case_maker.h"

// Requests whose every bit is made of integers, the same on every machine: nothing is rounded, and
// no function of the C library is asked for a number.

namespace lossd::oracle {

// What the numbers of a request are.
enum class Numbers : int8_t {
  kTypical,
  kTies,        // small integers, now and then far apart
  kInfinities,  // of what masks a class, and zeros
  kNaNs,        // the one NaN, and both infinities
  kAnyNaNs,     // NaNs of any sign and payload
  kHuge,        // near the end of the format's range, under huge scales
  kHugeAndNaNs,
};
inline constexpr std::string_view kNumbersNames[] = {"typical",  "ties", "infinities", "nans",
                                                     "any-nans", "huge", "huge-nans"};

// MakeCase with these factors, and numbers made of integers in the place of its own.
LossCase MakeBitsCase(const Factors& factors, Numbers numbers, Random& random);

// The same of a softmax loss with sparse targets.
LossCase MakeSparseBitsCase(const Factors& factors, Numbers numbers, Random& random);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_BITS_MAKER_H_
