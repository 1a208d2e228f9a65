#ifndef LOSSD_WIRE_SCATTERED_STREAM_H_
#define LOSSD_WIRE_SCATTERED_STREAM_H_

#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>
#include <cstdint>

#include "lossd/tensor.h"

namespace lossd::wire {

// Scattered bytes as protobuf reads them. The bytes (at most 2^31 - 1) must outlive the stream.
class ScatteredStream final : public google::protobuf::io::ZeroCopyInputStream {
 public:
  explicit ScatteredStream(const ScatteredBytes& bytes) : pieces_(bytes.pieces()) {}

  bool Next(const void** data, int* size) override {
    if (piece_ == pieces_.size()) return false;
    const ByteSpan rest = pieces_[piece_].subspan(used_);
    *data = rest.data();
    *size = static_cast<int>(rest.size());
    count_ += *size;
    ++piece_;
    used_ = 0;
    return true;
  }

  void BackUp(int count) override {  // count: at most what the last Next gave
    if (count == 0) return;
    --piece_;
    used_ = pieces_[piece_].size() - count;
    count_ -= count;
  }

  bool Skip(int count) override {
    while (count > 0) {
      const void* data;
      int size;
      if (!Next(&data, &size)) return false;
      if (size > count) BackUp(size - count);
      count -= size;
    }
    return true;
  }

  int64_t ByteCount() const override { return count_; }

 private:
  const absl::Span<const ByteSpan> pieces_;
  size_t piece_ = 0;  // the next one
  size_t used_ = 0;   // bytes of it already given
  int64_t count_ = 0;
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_SCATTERED_STREAM_H_
