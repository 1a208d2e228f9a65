#ifndef LOSSD_CORE_EXEC_SCRATCH_H_
#define LOSSD_CORE_EXEC_SCRATCH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "core/kernels/kernels.h"

namespace lossd {

// What a thread may keep of its scratch memory from unit to unit, whatever it computes.
inline constexpr int64_t kKeptScratchBytes = int64_t{16} << 20;

// Cache-aligned memory for one unit of work, kept from unit to unit. Contents are not initialised.
class Scratch {
 public:
  // Room for `count` elements and the slack that kernels ask for. Earlier contents are lost.
  template <class T>
  T* Get(int64_t count) {
    const int64_t bytes = (count + kernels::kGroup) * static_cast<int64_t>(sizeof(T));
    if (bytes > capacity_) {
      Take(bytes);
    }
    return reinterpret_cast<T*>(memory_.get());
  }

  int64_t bytes() const { return capacity_; }

  void GiveBack() {
    memory_.reset();
    capacity_ = 0;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }
  };

  void Take(int64_t bytes);

  std::unique_ptr<std::byte, Free> memory_;
  int64_t capacity_ = 0;
};

// Arrays for `count` positions. Without a head `softmax_coefficient` is `coefficient`.
inline kernels::LabelledPositions LabelledArrays(int64_t count, bool has_head, Scratch& scratch) {
  const int64_t stride = count + kernels::kGroup;
  double* values = scratch.Get<double>(10 * stride);
  const auto array = [&](int index) { return values + index * stride; };
  return {.peak = array(0),
          .rest = array(1),
          .log1p_rest = array(2),
          .picked = array(3),
          .picked_exponential = array(4),
          .coefficient = array(5),
          .softmax_coefficient = array(has_head ? 9 : 5),
          .loss = array(6),
          .label_gradient = array(7),
          .scale = array(8)};
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_SCRATCH_H_
