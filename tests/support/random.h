#ifndef LOSSD_TESTS_SUPPORT_RANDOM_H_
#define LOSSD_TESTS_SUPPORT_RANDOM_H_

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>

namespace lossd::oracle {

// The seed of this run: environment variable LOSSD_TEST_SEED, or a fixed number. Tests print it
// when they fail.
inline uint64_t TestSeed() {
  const char* text = std::getenv("LOSSD_TEST_SEED");
  return text == nullptr ? 20240229 : std::strtoull(text, nullptr, 10);
}

// The same numbers on every machine (the standard library's distributions are not): SplitMix64.
class Random {
 public:
  explicit Random(uint64_t stream) : state_(TestSeed() * 0x9e3779b97f4a7c15u + stream) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // 0 .. n-1. Precondition: n > 0.
  int64_t Below(int64_t n) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(n)); }
  bool OneIn(int64_t n) { return Below(n) == 0; }
  long double Uniform(long double low, long double high) {
    return low + (high - low) * std::ldexp(static_cast<long double>(Next() >> 11), -53);
  }
  template <class T>
  T Pick(std::initializer_list<T> choices) {
    return choices.begin()[Below(static_cast<int64_t>(choices.size()))];
  }

 private:
  uint64_t state_;
};

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_RANDOM_H_
