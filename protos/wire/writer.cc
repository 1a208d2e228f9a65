#include "protos/wire/writer.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd::wire {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

void RunRelease(void* release) {
  const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(release));
  (*owned)();
}

grpc::Slice ToSlice(Payload payload) {
  // gRPC only reads what it sends, though its signature does not say so.
  void* bytes = const_cast<std::byte*>(payload.bytes.data());
  const size_t size = payload.bytes.size();
  if (!payload.release) return grpc::Slice(bytes, size, grpc::Slice::STATIC_SLICE);
  return grpc::Slice(bytes, size, &RunRelease,
                     new std::function<void()>(std::move(payload.release)));
}

}  // namespace

std::string& Writer::Text() {
  if (parts_.empty() || parts_.back().text.empty()) parts_.emplace_back();
  return parts_.back().text;
}

void Writer::Tag(int number, int64_t length) {
  uint8_t bytes[16];
  const uint32_t tag = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(tag, bytes);
  end = CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(length), end);
  Text().append(reinterpret_cast<char*>(bytes), end - bytes);
  size_ += end - bytes;
}

void Writer::Fields(const google::protobuf::MessageLite& fields) {
  const auto size = static_cast<int64_t>(fields.ByteSizeLong());
  size_ += size;
  // Generated code writes nothing larger; the size is enough for Finish to refuse it.
  if (size == 0 || size > kMaxMessageBytes) return;
  fields.AppendToString(&Text());
}

void Writer::Message(int number, Writer message) {
  Tag(number, message.size_);
  size_ += message.size_;
  for (Part& part : message.parts_) {
    if (!part.text.empty()) {
      Text().append(part.text);
    } else {
      parts_.push_back(std::move(part));
    }
  }
}

void Writer::Message(int number, const google::protobuf::MessageLite& message) {
  Writer writer;
  writer.Fields(message);
  Message(number, std::move(writer));
}

void Writer::Bytes(int number, std::vector<Payload> payloads) {
  // Slices first: they own the releases, whatever happens after.
  std::vector<Part> parts;
  int64_t size = 0;
  for (Payload& payload : payloads) {
    size += static_cast<int64_t>(payload.bytes.size());
    Part part{.text = {}, .payload = ToSlice(std::move(payload))};
    if (part.payload.size() > 0) parts.push_back(std::move(part));
  }
  if (size == 0) return;
  Tag(number, size);
  size_ += size;
  for (Part& part : parts) parts_.push_back(std::move(part));
}

void Writer::Bytes(int number, Payload payload) {
  std::vector<Payload> payloads;
  payloads.push_back(std::move(payload));
  Bytes(number, std::move(payloads));
}

absl::StatusOr<grpc::ByteBuffer> Writer::Finish() && {
  const std::vector<Part> parts = std::move(parts_);
  if (size_ > kMaxMessageBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("message has ", size_, " bytes; wanted at most ", kMaxMessageBytes));
  }
  std::vector<grpc::Slice> slices;
  slices.reserve(parts.size());
  for (const Part& part : parts) {
    slices.push_back(part.text.empty() ? part.payload : grpc::Slice(part.text));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace lossd::wire
