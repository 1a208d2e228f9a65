#ifndef LOSSD_TESTS_CORE_BIG_NUMBER_H_
#define LOSSD_TESTS_CORE_BIG_NUMBER_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace lossd::oracle {

// A model of an exact sum, the schoolbook way: the positive and the negative terms are two natural
// numbers of bits, in units of 2^-1074, added with carries one bit at a time.
class BigSum {
 public:
  // Precondition: finite.
  void Add(double term) {
    int exponent = 0;
    const double fraction = std::frexp(std::fabs(term), &exponent);  // 0 or in [0.5, 1)
    auto significand = static_cast<uint64_t>(std::ldexp(fraction, 53));
    int lowest = exponent - 53 + 1074;  // of bit 0 of the significand
    while (lowest < 0) {                // a denormal: its low bits are 0
      significand >>= 1;
      ++lowest;
    }
    Bits& side = std::signbit(term) ? negative_ : positive_;
    for (int bit = 0; bit < 53; ++bit) {
      if ((significand >> bit) & 1) AddBit(side, lowest + bit);
    }
  }

  // To nearest even, from the definition: the bits above the cut, and how the rest compares to
  // half.
  double Round() const {
    const bool is_negative = Less(positive_, negative_);
    const Bits bits =
        is_negative ? Difference(negative_, positive_) : Difference(positive_, negative_);
    int top = kBits - 1;
    while (top >= 0 && !bits[top]) --top;
    if (top < 0) return 0;
    const int cut = top >= 53 ? top - 52 : 0;  // 53 bits stay; denormals keep all of theirs
    uint64_t significand = 0;
    for (int i = top; i >= cut; --i) significand = 2 * significand + bits[i];
    if (cut > 0 && bits[cut - 1]) {
      bool more = false;
      for (int i = 0; i < cut - 1; ++i) more = more || bits[i];
      if (more || significand % 2 == 1) ++significand;
    }
    const double magnitude = std::ldexp(static_cast<double>(significand), cut - 1074);
    return is_negative ? -magnitude : magnitude;
  }

 private:
  static constexpr int kBits = 2300;
  using Bits = std::vector<uint8_t>;

  static void AddBit(Bits& bits, int i) {
    while (bits[i]) bits[i++] = 0;
    bits[i] = 1;
  }
  static bool Less(const Bits& a, const Bits& b) {
    for (int i = kBits - 1; i >= 0; --i) {
      if (a[i] != b[i]) return a[i] < b[i];
    }
    return false;
  }
  // Precondition: a >= b.
  static Bits Difference(Bits a, const Bits& b) {
    for (int i = 0; i < kBits; ++i) {
      if (!b[i]) continue;
      int borrow = i;
      while (!a[borrow]) a[borrow++] = 1;
      a[borrow] = 0;
    }
    return a;
  }

  Bits positive_ = Bits(kBits);
  Bits negative_ = Bits(kBits);
};

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_BIG_NUMBER_H_
