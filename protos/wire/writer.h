#ifndef LOSSD_WIRE_WRITER_H_
#define LOSSD_WIRE_WRITER_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "protos/wire/message.h"

namespace lossd::wire {

// Payloads up to this size are copied into the message, and their release runs at once: that takes
// less time than to lend them and to learn when they are released.
inline constexpr size_t kCopiedBytes = 4 << 10;

// Bytes that are added to at the end; a few of them lie in place.
class Text {
 public:
  const uint8_t* data() const { return more_ == nullptr ? room_.data() : more_.get(); }
  size_t size() const { return size_; }

  // So many bytes more: the first of them. Their contents are whatever was there.
  uint8_t* Extend(size_t size) {
    if (size > capacity_ - size_) Grow(size);
    uint8_t* const at = (more_ == nullptr ? room_.data() : more_.get()) + size_;
    size_ += size;
    return at;
  }

 private:
  static constexpr size_t kRoom = 2048;

  void Grow(size_t size);

  size_t size_ = 0;
  size_t capacity_ = kRoom;
  std::unique_ptr<uint8_t[]> more_;  // instead of room_
  std::array<uint8_t, kRoom> room_;
};

// Writes one protobuf message whose large byte fields are sent from where they are. Fields written
// in the order of their numbers give the bytes that generated code would give, which takes more
// time to set up a message than there is to write.
class Writer {
 public:
  // A field of message type; written also where the message is empty.
  void Message(int number, Writer&& message);

  // One that has the fields of `fields`, of which nothing is lent, and behind them one of type
  // bytes.
  void Message(int number, const Writer& fields, int bytes_number, Payload payload);

  // A field of a whole number, a bool or an enum; of type double. Not written where it is 0, as
  // proto3 has it.
  void Number(int number, int64_t value);
  void Double(int number, double value);

  // The same of a field that tells whether it is set, which it is: written also where it is 0.
  void SetNumber(int number, int64_t value);
  void SetDouble(int number, double value);

  // A field of repeated int64, of repeated double; not written where there are none.
  void Packed(int number, absl::Span<const int64_t> values);
  void Packed(int number, absl::Span<const double> values);

  // A field of type bytes: the payloads one after the other. Not written where they are empty, as
  // proto3 has it.
  void Bytes(int number, absl::Span<Payload> payloads);
  void Bytes(int number, Payload payload) { Bytes(number, absl::MakeSpan(&payload, 1)); }

  int64_t size() const { return size_; }

  // The message; kInvalidArgument where it is larger than protobuf allows. Each payload's release
  // runs when the last reference to its bytes goes, which on an error is at once.
  absl::StatusOr<grpc::ByteBuffer> Finish() &&;

 private:
  // Stands in the message before what is at `at` in the text.
  struct Lent {
    size_t at;
    grpc::Slice payload;
  };

  void Tag(int number, int64_t length);
  uint8_t* Extend(size_t size);  // of the text

  Text text_;  // all but what is lent
  absl::InlinedVector<Lent, 2> lent_;
  int64_t size_ = 0;
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_WRITER_H_
