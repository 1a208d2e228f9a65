#include "lossd/exact_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr uint64_t kLow32 = 0xffffffffu;
// Each addition moves a digit by less than 2^32, so 2^30 of them stay within 63 bits.
constexpr int64_t kMaxPending = int64_t{1} << 30;

constexpr uint64_t kImpliedBit = uint64_t{1} << 52;
constexpr uint64_t kFractionMask = kImpliedBit - 1;
constexpr int kSpecialExponent = 0x7ff;  // of infinities and NaN

// Stops at the largest count: only whether it is 0 decides anything.
void AddCount(int64_t more, int64_t& count) {
  if (__builtin_add_overflow(count, more, &count)) count = std::numeric_limits<int64_t>::max();
}

}  // namespace

ExactSum& ExactSum::operator=(const ExactSum& other) {
  if (this == &other) return *this;
  first_ = other.first_;
  last_ = other.last_;
  pending_ = other.pending_;
  nan_terms_ = other.nan_terms_;
  positive_infinities_ = other.positive_infinities_;
  negative_infinities_ = other.negative_infinities_;
  if (first_ <= last_) std::copy_n(&other.digits_[first_], last_ - first_ + 1, &digits_[first_]);
  return *this;
}

void ExactSum::Add(double term) {
  const uint64_t bits = std::bit_cast<uint64_t>(term);
  const int biased = static_cast<int>((bits >> 52) & kSpecialExponent);
  const uint64_t mantissa = bits & kFractionMask;
  if (biased == kSpecialExponent) return AddSpecial(term);
  const uint64_t magnitude = biased == 0 ? mantissa : mantissa | kImpliedBit;
  AddScaled(magnitude, std::signbit(term), biased);
}

void ExactSum::AddSpecial(double term) {
  if (std::isnan(term)) {
    ++nan_terms_;
  } else {
    ++(std::signbit(term) ? negative_infinities_ : positive_infinities_);
  }
}

// Adds +-magnitude * 2^(biased - 1075), biased = 0 meaning 1, as for denormal numbers.
void ExactSum::AddScaled(uint64_t magnitude, bool negative, int biased) {
  const int offset = std::max(biased, 1) - 1075 - kLowestExponent;  // >= 14
  const int digit = offset / 32;
  const int shift = offset % 32;
  const uint64_t low = magnitude << shift;  // the bits shifted out at the top are in `high`
  const uint64_t high = shift == 0 ? 0 : magnitude >> (64 - shift);
  const int64_t sign = -static_cast<int64_t>(negative);  // 0 or -1
  Touch(digit, digit + 2);
  digits_[digit] += (static_cast<int64_t>(low & kLow32) ^ sign) - sign;
  digits_[digit + 1] += (static_cast<int64_t>(low >> 32) ^ sign) - sign;
  digits_[digit + 2] += (static_cast<int64_t>(high) ^ sign) - sign;
  if (++pending_ >= kMaxPending) Carry();
}

// Mantissas of equal exponents are whole numbers of one unit: 2^10 of them fit into 64 bits, so
// each term costs one addition (R. Neal's large superaccumulator), and each exponent that occurs
// three.
void ExactSum::AddAll(absl::Span<const double> terms) {
  constexpr size_t kMaxTerms = 1 << 10;
  constexpr size_t kWorthIt = 128;
  for (; terms.size() >= kWorthIt; terms.remove_prefix(std::min(kMaxTerms, terms.size()))) {
    int64_t by_exponent[kSpecialExponent] = {};
    int least = kSpecialExponent;
    int most = -1;
    for (const double term : terms.subspan(0, kMaxTerms)) {
      const uint64_t bits = std::bit_cast<uint64_t>(term);
      const int biased = static_cast<int>((bits >> 52) & kSpecialExponent);
      if (biased == kSpecialExponent) {
        AddSpecial(term);
        continue;
      }
      const uint64_t implied = biased == 0 ? 0 : kImpliedBit;
      const auto mantissa = static_cast<int64_t>((bits & kFractionMask) | implied);
      const int64_t sign = -static_cast<int64_t>(bits >> 63);  // 0 or -1
      by_exponent[biased] += (mantissa ^ sign) - sign;
      least = std::min(least, biased);
      most = std::max(most, biased);
    }
    for (int biased = least; biased <= most; ++biased) {
      const int64_t sum = by_exponent[biased];
      const auto magnitude = static_cast<uint64_t>(sum < 0 ? -sum : sum);
      if (sum != 0) AddScaled(magnitude, sum < 0, biased);
    }
  }
  for (const double term : terms) Add(term);
}

void ExactSum::Touch(int first, int last) {
  if (last_ < first_) {
    first_ = first;
    last_ = first - 1;
  }
  while (first_ > first) digits_[--first_] = 0;
  while (last_ < last) digits_[++last_] = 0;
}

void ExactSum::Carry() {
  int64_t carry = 0;
  int i = first_;
  for (; i < kTop && (i <= last_ || carry != 0); ++i) {
    Touch(i, i);
    const int64_t value = digits_[i] + carry;
    carry = value >> 32;  // floor, also for negative values
    digits_[i] = value & static_cast<int64_t>(kLow32);
  }
  if (i == kTop) {
    Touch(kTop, kTop);
    digits_[kTop] += carry;
  }
  pending_ = 0;
}

void ExactSum::Merge(const ExactSum& other) {
  ExactSum carried = other;
  carried.Carry();
  // A carried digit counts as one addition; the top digit of both is small.
  if (carried.first_ <= carried.last_) Touch(carried.first_, carried.last_);
  for (int i = carried.first_; i <= carried.last_; ++i) digits_[i] += carried.digits_[i];
  AddCount(other.nan_terms_, nan_terms_);
  AddCount(other.positive_infinities_, positive_infinities_);
  AddCount(other.negative_infinities_, negative_infinities_);
  if (++pending_ >= kMaxPending) Carry();
}

double ExactSum::Round() const {
  if (nan_terms_ > 0 || (positive_infinities_ > 0 && negative_infinities_ > 0)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (positive_infinities_ > 0) return std::numeric_limits<double>::infinity();
  if (negative_infinities_ > 0) return -std::numeric_limits<double>::infinity();

  ExactSum sum = *this;
  sum.Carry();
  const bool negative = sum.last_ == kTop && sum.digits_[kTop] < 0;
  if (negative) {
    for (int i = sum.first_; i <= kTop; ++i) sum.digits_[i] = -sum.digits_[i];
    sum.Carry();
  }
  int top = sum.last_;
  while (top >= sum.first_ && sum.digits_[top] == 0) --top;
  if (top < sum.first_) return 0;

  // The 64 leading bits, the lowest of them made sticky, then one rounding by the hardware. Below
  // 2^-1022 the number is short enough to be exact.
  const auto digit_at = [&](int i) {
    return i >= sum.first_ ? static_cast<uint64_t>(sum.digits_[i]) : uint64_t{0};
  };
  const int width = static_cast<int>(std::bit_width(digit_at(top)));  // 1..32 unless overflowing
  if (width > 32) return negative ? -HUGE_VAL : HUGE_VAL;
  Wide window = digit_at(top);
  window = (window << 32) | digit_at(top - 1);
  window = (window << 32) | digit_at(top - 2);  // 64 + width bits
  bool sticky = false;
  for (int i = top - 3; i >= sum.first_; --i) sticky = sticky || sum.digits_[i] != 0;
  // Keep 55 bits: 53 of the result, the rounding bit, and one sticky bit for the rest.
  const int drop = 64 + width - 55;
  uint64_t lead = static_cast<uint64_t>(window >> drop);
  const Wide rest = window & ((Wide{1} << drop) - 1);
  if (rest != 0 || sticky) lead |= 1;
  const int exponent = kLowestExponent + 32 * (top - 2) + drop;
  if (exponent < -1074) {
    // The result may be a denormal: every bit of the sum weighs at least 2^-1074, so the window is
    // exact down to there and a sum of at most 53 significant bits needs no rounding at all.
    const int excess = -1074 - exponent;
    if (excess >= 2) {
      const double exact = std::ldexp(static_cast<double>(lead >> excess), -1074);
      return negative ? -exact : exact;
    }
  }
  const double magnitude = std::ldexp(static_cast<double>(lead), exponent);
  return negative ? -magnitude : magnitude;
}

ExactSum::Portable ExactSum::ToPortable() const {
  ExactSum sum = *this;
  sum.Carry();
  Portable portable{.exponent = 0,
                    .magnitude = {},
                    .nan_terms = nan_terms_,
                    .positive_infinities = positive_infinities_,
                    .negative_infinities = negative_infinities_};
  int low = sum.first_;
  while (low <= sum.last_ && sum.digits_[low] == 0) ++low;
  if (low > sum.last_) return portable;
  portable.exponent = kLowestExponent + 32 * low;
  auto& bytes = portable.magnitude;
  // With one digit more than there are, whose bits are those of the sign.
  for (int i = low; i <= std::min(sum.last_ + 1, kTop); ++i) {
    const int width = i == kTop ? 8 : 4;  // the top digit is a signed 64-bit number
    const int64_t digit = i <= sum.last_ ? sum.digits_[i] : 0;
    for (int b = 0; b < width; ++b) bytes.push_back(static_cast<std::byte>(digit >> (8 * b)));
  }
  // Two's complement: a leading byte that only repeats the sign of the next one says nothing.
  while (bytes.size() > 1) {
    const auto last = static_cast<int8_t>(bytes.back());
    const bool next_negative = static_cast<int8_t>(bytes[bytes.size() - 2]) < 0;
    if (last != (next_negative ? -1 : 0)) break;
    bytes.pop_back();
  }
  return portable;
}

absl::StatusOr<ExactSum> ExactSum::FromPortable(const Portable& portable) {
  const auto bad = [](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat("exact sum: ", parts...));
  };
  if (portable.nan_terms < 0 || portable.positive_infinities < 0 ||
      portable.negative_infinities < 0) {
    return bad("a count of non-finite terms is negative");
  }
  ExactSum sum;
  sum.nan_terms_ = portable.nan_terms;
  sum.positive_infinities_ = portable.positive_infinities;
  sum.negative_infinities_ = portable.negative_infinities;
  const auto& bytes = portable.magnitude;
  if (bytes.empty()) {
    if (portable.exponent != 0) return bad("exponent is ", portable.exponent, " for an empty sum");
    return sum;
  }
  if (bytes.size() > kMaxMagnitudeBytes) {
    return bad("magnitude has ", bytes.size(), " bytes; wanted at most ", kMaxMagnitudeBytes);
  }
  if (portable.exponent > 1024 || portable.exponent < kLowestExponent ||
      portable.exponent % 32 != 0) {
    return bad("exponent is ", portable.exponent, "; wanted a multiple of 32 in -1088..1024");
  }
  const bool negative = static_cast<int8_t>(bytes.back()) < 0;
  const int first = (portable.exponent - kLowestExponent) / 32;
  // Sign-extended 32-bit words from digit `first` up; what does not fit in the digits is refused.
  const auto byte_at = [&](size_t i) -> uint64_t {
    return i < bytes.size() ? static_cast<uint64_t>(bytes[i]) : (negative ? 0xff : 0);
  };
  const auto word_at = [&](size_t word) {
    uint64_t value = 0;
    for (size_t b = 0; b < 4; ++b) value |= byte_at(4 * word + b) << (8 * b);
    return value;
  };
  const size_t words = kDigits - first;
  const size_t given = negative ? words : std::min(words, bytes.size() / 4 + 1);
  sum.Touch(first, first + static_cast<int>(given) - 1);
  for (size_t w = 0; w < std::min(given, words - 1); ++w) {
    sum.digits_[first + w] = static_cast<int64_t>(word_at(w));
  }
  // The top digit carries the sign; a real sum keeps it within 32 bits.
  const auto top = static_cast<int32_t>(word_at(words - 1));
  if (given == words) sum.digits_[kTop] = top;
  if (bytes.size() > 4 * words || (top < 0) != negative) {
    return bad("magnitude of ", bytes.size(), " bytes at exponent ", portable.exponent,
               " is out of range");
  }
  // Shortest: its first digit counts, and its last byte is more than the sign of the one before.
  const bool redundant =
      bytes.size() > 1 &&
      byte_at(bytes.size() - 1) == (static_cast<int8_t>(bytes[bytes.size() - 2]) < 0 ? 0xff : 0x00);
  if (redundant || word_at(0) == 0) return bad("magnitude is not in its shortest form");
  return sum;
}

bool operator==(const ExactSum& a, const ExactSum& b) { return a.ToPortable() == b.ToPortable(); }

}  // namespace lossd
