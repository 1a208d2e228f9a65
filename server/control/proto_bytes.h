#ifndef LOSSD_SERVER_CONTROL_PROTO_BYTES_H_
#define LOSSD_SERVER_CONTROL_PROTO_BYTES_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lossd {

// Small messages of protocols that are not lossd's own, by the generated parsers. kInvalidArgument
// for bytes that are no such message.
template <class Message>
absl::StatusOr<Message> ParseProto(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  Message message;
  std::string text;
  if (!bytes.Dump(&slices).ok()) return absl::InternalError("a message could not be read");
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  if (!message.ParseFromString(text)) {
    return absl::InvalidArgumentError("the message is not a " + message.GetTypeName());
  }
  return message;
}

template <class Message>
grpc::ByteBuffer ProtoBytes(const Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_PROTO_BYTES_H_
