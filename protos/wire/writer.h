#ifndef LOSSD_WIRE_WRITER_H_
#define LOSSD_WIRE_WRITER_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "protos/wire/message.h"

namespace lossd::wire {

// Writes one protobuf message whose large byte fields are sent from where they are. Fields written
// in the order of their numbers give the bytes that generated code would give.
class Writer {
 public:
  // Fields of the message itself, as generated code writes them.
  void Fields(const google::protobuf::MessageLite& fields);

  // A field of message type; written also where the message is empty.
  void Message(int number, Writer message);
  void Message(int number, const google::protobuf::MessageLite& message);

  // A field of type bytes: the payloads one after the other. Not written where they are empty, as
  // proto3 has it.
  void Bytes(int number, std::vector<Payload> payloads);
  void Bytes(int number, Payload payload);

  int64_t size() const { return size_; }

  // The message; kInvalidArgument where it is larger than protobuf allows. Each payload's release
  // runs when the last reference to its bytes goes, which on an error is at once.
  absl::StatusOr<grpc::ByteBuffer> Finish() &&;

 private:
  // Text written here, or a payload where `text` is empty.
  struct Part {
    std::string text;
    grpc::Slice payload;
  };

  std::string& Text();  // to append to; size_ is the caller's concern
  void Tag(int number, int64_t length);

  std::vector<Part> parts_;
  int64_t size_ = 0;
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_WRITER_H_
