#ifndef LOSSD_TESTS_CORE_GUARDED_BUFFER_H_
#define LOSSD_TESTS_CORE_GUARDED_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "lossd/tensor.h"

namespace lossd::oracle {

// An output buffer that shows what was not written (every byte starts as 0xff: NaN in all floating
// dtypes) and what was written outside of it (canaries on both sides).
class GuardedBuffer {
 public:
  GuardedBuffer() = default;
  // `misalignment` bytes past a 64-byte boundary or so; the core asks for no alignment.
  explicit GuardedBuffer(size_t size, size_t misalignment = 0)
      : memory_(kGuard + misalignment + size + kGuard, kCanary),
        begin_(kGuard + misalignment),
        size_(size) {
    std::fill_n(memory_.begin() + begin_, size, kUnwritten);
  }

  MutableByteSpan span() { return {memory_.data() + begin_, size_}; }
  ByteSpan bytes() const { return {memory_.data() + begin_, size_}; }

  // Whether nothing outside was written.
  bool intact() const {
    const auto is_canary = [](std::byte b) { return b == kCanary; };
    return std::all_of(memory_.begin(), memory_.begin() + begin_, is_canary) &&
           std::all_of(memory_.begin() + begin_ + size_, memory_.end(), is_canary);
  }

 private:
  static constexpr size_t kGuard = 128;
  static constexpr std::byte kCanary{0xa5};
  static constexpr std::byte kUnwritten{0xff};

  std::vector<std::byte> memory_;
  size_t begin_ = 0;
  size_t size_ = 0;
};

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_GUARDED_BUFFER_H_
