#ifndef LOSSD_TESTS_CORE_TRAPPED_MEMORY_H_
#define LOSSD_TESTS_CORE_TRAPPED_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lossd::testing {

// Memory that notices how far a computation has come. Some of its pages, kStride apart, are traps:
// whoever reads or writes there counts, and walks on. A trap is armed again as soon as the next one
// of the same memory is sprung, so that each walk over the memory counts anew.
class TrappedMemory {
 public:
  static constexpr int64_t kStride = int64_t{1} << 18;

  // Zeros.
  explicit TrappedMemory(int64_t size);
  ~TrappedMemory();
  TrappedMemory(const TrappedMemory&) = delete;
  TrappedMemory& operator=(const TrappedMemory&) = delete;

  std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

  // Sets all traps, or none.
  void Arm();
  void Disarm();

 private:
  friend struct Trap;
  std::byte* data_;
  int64_t size_;
  std::byte* open_ = nullptr;  // the trap that was sprung last
};

// How often traps were sprung since Count() was called, in all memory of this process.
int64_t Sprung();

// Counts from 0 on, and sets `flag` (null: none) when the trap number `at` is sprung.
void Count(int64_t at, std::atomic<bool>* flag);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_CORE_TRAPPED_MEMORY_H_
