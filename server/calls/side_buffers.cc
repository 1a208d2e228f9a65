#include "server/calls/side_buffers.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace lossd {
namespace {

constexpr int64_t kFirstCapacity = 64 << 10;

}  // namespace

absl::Status GrowingBuffer::Append(const ScatteredBytes& bytes, int64_t declared) {
  const int64_t needed = size_ + bytes.size();
  if (needed > capacity_) {
    const int64_t capacity = std::min(declared, std::max({needed, 2 * capacity_, kFirstCapacity}));
    auto* const grown = static_cast<std::byte*>(std::realloc(data_.get(), capacity));
    if (grown == nullptr) {
      return absl::UnavailableError(
          absl::StrFormat("out of memory: no %d bytes for a side tensor", capacity));
    }
    static_cast<void>(data_.release());  // realloc has freed or moved it
    data_.reset(grown);
    capacity_ = capacity;
  }
  bytes.CopyTo(0, bytes.size(), data_.get() + size_);
  size_ = needed;
  return absl::OkStatus();
}

SideBytes SideBuffers::Spans() const {
  SideBytes spans;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<GrowingBuffer>& row = kTensorRows<GrowingBuffer>[i];
    if (row.side_kind) {
      spans.*kTensorRows<ByteSpan>[i].whole = (buffers_.*row.whole).bytes();
    }
  }
  return spans;
}

}  // namespace lossd
