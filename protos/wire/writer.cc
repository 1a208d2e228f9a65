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

void Writer::Tag(int number, int64_t length) {
  uint8_t bytes[16];
  const uint32_t tag = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(tag, bytes);
  end = CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(length), end);
  text_.insert(text_.end(), bytes, end);
  size_ += end - bytes;
}

void Writer::Fields(const google::protobuf::MessageLite& fields) {
  const auto size = static_cast<int64_t>(fields.ByteSizeLong());
  size_ += size;
  // Generated code writes nothing larger; the size is enough for Finish to refuse it.
  if (size == 0 || size > kMaxMessageBytes) return;
  const size_t at = text_.size();
  text_.resize(at + size);
  fields.SerializeWithCachedSizesToArray(text_.data() + at);
}

void Writer::Message(int number, Writer&& message) {
  Tag(number, message.size_);
  const size_t at = text_.size();
  text_.insert(text_.end(), message.text_.begin(), message.text_.end());
  for (Lent& lent : message.lent_) lent_.push_back({at + lent.at, std::move(lent.payload)});
  size_ += message.size_;
}

void Writer::Message(int number, const google::protobuf::MessageLite& fields, int bytes_number,
                     Payload payload) {
  const auto length = static_cast<int64_t>(payload.bytes.size());
  const uint32_t tag =
      WireFormatLite::MakeTag(bytes_number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  const auto envelope = static_cast<int64_t>(CodedOutputStream::VarintSize32(tag) +
                                             CodedOutputStream::VarintSize64(length));
  Tag(number, static_cast<int64_t>(fields.ByteSizeLong()) + (length == 0 ? 0 : envelope + length));
  Fields(fields);
  Bytes(bytes_number, std::move(payload));
}

void Writer::Bytes(int number, absl::Span<Payload> payloads) {
  int64_t size = 0;
  for (const Payload& payload : payloads) size += static_cast<int64_t>(payload.bytes.size());
  if (size > 0) Tag(number, size);
  size_ += size;
  for (Payload& payload : payloads) {
    if (payload.bytes.size() > kCopiedBytes) {
      lent_.push_back({text_.size(), ToSlice(std::move(payload))});
      continue;
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(payload.bytes.data());
    text_.insert(text_.end(), bytes, bytes + payload.bytes.size());
    if (payload.release) payload.release();
  }
}

absl::StatusOr<grpc::ByteBuffer> Writer::Finish() && {
  const auto lent = std::move(lent_);
  if (size_ > kMaxMessageBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("message has ", size_, " bytes; wanted at most ", kMaxMessageBytes));
  }
  absl::InlinedVector<grpc::Slice, 8> slices;
  size_t begin = 0;
  const auto text_up_to = [&](size_t end) {
    if (end > begin) slices.emplace_back(text_.data() + begin, end - begin);
    begin = end;
  };
  for (const Lent& part : lent) {
    text_up_to(part.at);
    slices.push_back(part.payload);
  }
  text_up_to(text_.size());
  // In place: a byte buffer cannot be moved, and each copy allocates.
  return absl::StatusOr<grpc::ByteBuffer>(absl::in_place, slices.data(), slices.size());
}

}  // namespace lossd::wire
