#ifndef LOSSD_TESTS_FUZZ_INPUT_H_
#define LOSSD_TESTS_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

// What every fuzzer has: choices made from the bytes of its input, and a loud end. libFuzzer drives
// it in a build by Clang (the preset `fuzz`), replay_main.cc in any other.
namespace lossd::fuzz {

// Where the bytes have run out, zeros follow.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  size_t left() const { return left_; }
  bool empty() const { return left_ == 0; }

  uint64_t Number(size_t bytes = 8) {
    uint64_t number = 0;
    const size_t taken = std::min(bytes, left_);
    if (taken > 0) std::memcpy(&number, data_, taken);
    Skip(taken);
    return number;
  }
  uint8_t Byte() { return static_cast<uint8_t>(Number(1)); }
  bool Flag() { return (Byte() & 1) != 0; }

  // 0 .. n-1. Precondition: 0 < n <= 65536.
  int64_t Below(int64_t n) {
    return static_cast<int64_t>(Number(n <= 256 ? 1 : 2) % static_cast<uint64_t>(n));
  }
  template <class T>
  T Pick(std::initializer_list<T> choices) {
    return choices.begin()[Below(static_cast<int64_t>(choices.size()))];
  }

  // A small number, or any number, or one beside a power of two.
  int64_t Integer() {
    switch (Byte() % 4) {
      case 0:
        return static_cast<int8_t>(Byte());
      case 1:
        return static_cast<int64_t>(Number());
      case 2:
        return static_cast<int64_t>((uint64_t{1} << (Byte() % 64)) + Byte() % 5 - 2);
      default:
        return Byte() % 8;
    }
  }

  // At most `size` bytes.
  std::string Bytes(size_t size) {
    const size_t taken = std::min(size, left_);
    std::string bytes(reinterpret_cast<const char*>(data_), taken);
    Skip(taken);
    return bytes;
  }
  std::string Rest() { return Bytes(left_); }

 private:
  void Skip(size_t bytes) {
    data_ += bytes;
    left_ -= bytes;
  }

  const uint8_t* data_;
  size_t left_;
};

// What a fuzzer defines: tries one input.
void TestOne(Input input);

// Ends the program with these words unless `held`: a finding.
void Require(bool held, absl::string_view words);

}  // namespace lossd::fuzz

#endif  // LOSSD_TESTS_FUZZ_INPUT_H_
