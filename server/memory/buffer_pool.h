#ifndef LOSSD_SERVER_MEMORY_BUFFER_POOL_H_
#define LOSSD_SERVER_MEMORY_BUFFER_POOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "lossd/tensor.h"

namespace lossd {

// Memory for outputs that is used again instead of going back to the system, whose page faults
// would otherwise cost as much as computing a loss. Buffers are aligned, large ones to huge
// pages. Contents are whatever was there before. Thread-safe; buffers may outlive it.
class BufferPool {
  struct State;

 public:
  // A buffer on loan; goes back when it is destroyed. Move-only.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept { Swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
      Swap(other);
      return *this;
    }
    ~Buffer();

    MutableByteSpan bytes() const { return {data_, size_}; }  // exactly as large as was asked for

    // The same loan as a function: the buffer goes back when it is called or destroyed.
    std::function<void()> IntoRelease() &&;

   private:
    friend class BufferPool;
    void Swap(Buffer& other) noexcept;

    std::shared_ptr<State> pool_;
    std::byte* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
  };

  // Of every buffer, at least.
  static constexpr size_t kAlignment = 64;

  // Keeps at most `max_idle_bytes` of memory that is not on loan.
  explicit BufferPool(int64_t max_idle_bytes);

  // kUnavailable if the system has no memory left. size 0: an empty buffer.
  absl::StatusOr<Buffer> Take(int64_t size);

  // Gives back to the system what has been idle since the call of Trim before this one.
  void Trim();

  int64_t idle_bytes() const;
  int64_t loaned_bytes() const;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_MEMORY_BUFFER_POOL_H_
