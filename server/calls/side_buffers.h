#ifndef LOSSD_SERVER_CALLS_SIDE_BUFFERS_H_
#define LOSSD_SERVER_CALLS_SIDE_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "core/exec/loss_run.h"
#include "lossd/tensors.h"

namespace lossd {

// Bytes that arrive in pieces. Memory follows what has arrived, at most twice of it (64 KiB at
// first), whatever was declared.
class GrowingBuffer {
 public:
  // kUnavailable if there is no memory. Precondition: size() + bytes.size() <= declared, which is
  // the same in every call.
  absl::Status Append(const ScatteredBytes& bytes, int64_t declared);

  ByteSpan bytes() const { return {data_.get(), static_cast<size_t>(size_)}; }
  int64_t capacity() const { return capacity_; }

 private:
  struct Freer {
    void operator()(std::byte* data) const { std::free(data); }
  };

  std::unique_ptr<std::byte, Freer> data_;  // of malloc: realloc moves large blocks without copying
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

// The side tensors of one stream.
class SideBuffers {
 public:
  GrowingBuffer& of(SideKind kind) { return SideTensor(kind, buffers_); }
  SideBytes Spans() const;

 private:
  SideTensors<GrowingBuffer> buffers_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_SIDE_BUFFERS_H_
