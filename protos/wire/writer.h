#ifndef LOSSD_WIRE_WRITER_H_
#define LOSSD_WIRE_WRITER_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "protos/wire/message.h"

namespace lossd::wire {

// Payloads up to this size are copied into the message, and their release runs at once: that takes
// less time than to lend them and to hear when they are let go of.
inline constexpr size_t kCopiedBytes = 4 << 10;

// Writes one protobuf message whose large byte fields are sent from where they are. Fields written
// in the order of their numbers give the bytes that generated code would give.
class Writer {
 public:
  // Fields of the message itself, as generated code writes them.
  void Fields(const google::protobuf::MessageLite& fields);

  // A field of message type; written also where the message is empty.
  void Message(int number, Writer&& message);

  // One that has the fields of `fields`, of which nothing is lent, and behind them one of type
  // bytes.
  void Message(int number, const Writer& fields, int bytes_number, Payload payload);

  // A field of a whole number or an enum; written also where it is 0.
  void Number(int number, int64_t value);

  // A field of repeated int64; not written where there are none.
  void Packed(int number, absl::Span<const int64_t> values);

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
  uint8_t* Extend(size_t size);  // the text, by so many bytes: the first of them

  absl::InlinedVector<uint8_t, 2048> text_;  // all but what is lent; small messages in place
  absl::InlinedVector<Lent, 2> lent_;
  int64_t size_ = 0;
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_WRITER_H_
