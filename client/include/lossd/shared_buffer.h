#ifndef LOSSD_SHARED_BUFFER_H_
#define LOSSD_SHARED_BUFFER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"

namespace lossd {

class SharedMemory;

// Memory of this process that a server on the same machine can use as its own, so that no tensor is
// copied. A Client with ClientOptions::shared_memory shares a buffer with the server when a call
// first uses it: a call whose predictions and gradients lie in such buffers, at offsets that are
// multiples of 64, moves nothing but labels, weights and sums.
//
// Make buffers once and keep them: the pages of a new one take longer to make than a loss to
// compute. The server counts them in its memory budget until the last handle is gone.
//
// A copyable handle; the memory lives as long as the last copy. Thread-safe, as far as the contents
// are not concerned. After a fork the memory is shared by both processes.
class SharedBuffer {
 public:
  // Zeroes. kInvalidArgument for bytes < 1, kUnavailable if the system has no memory or
  // descriptors left.
  static absl::StatusOr<SharedBuffer> Make(int64_t bytes);

  // Starts at a page.
  MutableByteSpan bytes() const { return bytes_; }

  // All of it as values of type T, as many as fit.
  template <class T>
  absl::Span<T> As() const {
    return {reinterpret_cast<T*>(bytes_.data()), bytes_.size() / sizeof(T)};
  }

 private:
  SharedBuffer(std::shared_ptr<const SharedMemory> memory, MutableByteSpan bytes)
      : memory_(std::move(memory)), bytes_(bytes) {}

  std::shared_ptr<const SharedMemory> memory_;
  MutableByteSpan bytes_;
};

}  // namespace lossd

#endif  // LOSSD_SHARED_BUFFER_H_
