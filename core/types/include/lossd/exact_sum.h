#ifndef LOSSD_EXACT_SUM_H_
#define LOSSD_EXACT_SUM_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"

namespace lossd {

// The exact sum of any number of doubles: a fixed-point number wide enough for every double, so the
// value depends neither on the order of the terms nor on how partial sums were merged. The idea of
// keeping base-2^32 digits in 64-bit words and carrying late is R. Neal's ("Fast exact summation
// using small and large superaccumulators", 2015). Up to 2^30 additions and merges per object are
// carried automatically. Not thread-safe.
class ExactSum {
 public:
  // Most sums have few digits: only those are set up and copied.
  ExactSum() {}  // NOLINT(modernize-use-equals-default): would set digits_ in ExactSum{}
  ExactSum(const ExactSum& other) { *this = other; }
  ExactSum& operator=(const ExactSum& other);

  void Add(double term);
  void AddAll(absl::Span<const double> terms);
  void Merge(const ExactSum& other);

  // The sum rounded once, to nearest even. NaN if a NaN or infinities of both signs were added; an
  // infinity if one was added or the sum overflows. An empty or zero sum is +0.
  double Round() const;

  // The portable form: integer(magnitude) * 2^exponent, magnitude in two's complement,
  // little-endian, without redundant leading bytes, empty for zero; exponent a multiple of 32 in
  // -1088..1024. Equal sums have equal forms.
  struct Portable {
    int32_t exponent = 0;
    absl::InlinedVector<std::byte, 32> magnitude;
    int64_t nan_terms = 0;
    int64_t positive_infinities = 0;
    int64_t negative_infinities = 0;

    friend bool operator==(const Portable&, const Portable&) = default;
  };
  Portable ToPortable() const;

  // kInvalidArgument where the form is not one that ToPortable makes: a wrong exponent, more than
  // kMaxMagnitudeBytes, a value out of range, a negative count.
  static absl::StatusOr<ExactSum> FromPortable(const Portable& portable);
  static constexpr size_t kMaxMagnitudeBytes = 280;

  // Equality of values.
  friend bool operator==(const ExactSum& a, const ExactSum& b);

 private:
  // Digit i weighs 2^(32 i - 1088). A double has bits from 2^-1074 to 2^1023, so digits 0..66 hold
  // any double, and the rest hold the growth of the sum.
  static constexpr int kDigits = 70;
  static constexpr int kTop = kDigits - 1;
  static constexpr int kLowestExponent = -1088;

  void AddSpecial(double term);
  void AddScaled(uint64_t magnitude, bool negative, int biased);
  void Carry();  // brings digits 0..kTop-1 into [0, 2^32); the top digit keeps the sign
  void Touch(int first, int last);  // widens first_..last_

  std::array<int64_t, kDigits> digits_;  // those outside first_..last_ are 0, whatever is here
  int first_ = 0;
  int last_ = -1;
  int64_t pending_ = 0;  // additions since the last Carry
  int64_t nan_terms_ = 0;
  int64_t positive_infinities_ = 0;
  int64_t negative_infinities_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_EXACT_SUM_H_
