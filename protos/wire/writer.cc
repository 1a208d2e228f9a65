#include "protos/wire/writer.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <bit>
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

void Text::Grow(size_t size) {
  capacity_ = std::max(2 * capacity_, size_ + size);
  auto more = std::make_unique_for_overwrite<uint8_t[]>(capacity_);
  std::copy_n(data(), size_, more.get());
  more_ = std::move(more);
}

inline uint8_t* Writer::Extend(size_t size) {
  size_ += static_cast<int64_t>(size);
  return text_.Extend(size);
}

void Writer::Tag(int number, int64_t length) {
  const uint32_t tag = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  const auto size = static_cast<uint64_t>(length);
  uint8_t* const at =
      Extend(CodedOutputStream::VarintSize32(tag) + CodedOutputStream::VarintSize64(size));
  CodedOutputStream::WriteVarint64ToArray(size, CodedOutputStream::WriteVarint32ToArray(tag, at));
}

void Writer::Number(int number, int64_t value) {
  if (value != 0) SetNumber(number, value);
}

void Writer::SetNumber(int number, int64_t value) {
  const uint32_t tag = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_VARINT);
  const auto bits = static_cast<uint64_t>(value);
  uint8_t* const at =
      Extend(CodedOutputStream::VarintSize32(tag) + CodedOutputStream::VarintSize64(bits));
  CodedOutputStream::WriteVarint64ToArray(bits, CodedOutputStream::WriteVarint32ToArray(tag, at));
}

void Writer::Double(int number, double value) {
  if (std::bit_cast<uint64_t>(value) != 0) SetDouble(number, value);  // -0 is written
}

void Writer::SetDouble(int number, double value) {
  const uint32_t tag = WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_FIXED64);
  uint8_t* const at = Extend(CodedOutputStream::VarintSize32(tag) + sizeof(value));
  WireFormatLite::WriteDoubleNoTagToArray(value, CodedOutputStream::WriteVarint32ToArray(tag, at));
}

void Writer::Packed(int number, absl::Span<const int64_t> values) {
  if (values.empty()) return;
  size_t size = 0;
  for (const int64_t value : values) size += WireFormatLite::Int64Size(value);
  Tag(number, static_cast<int64_t>(size));
  uint8_t* at = Extend(size);
  for (const int64_t value : values) {
    at = CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(value), at);
  }
}

void Writer::Packed(int number, absl::Span<const double> values) {
  if (values.empty()) return;
  Tag(number, static_cast<int64_t>(values.size() * sizeof(double)));
  uint8_t* at = Extend(values.size() * sizeof(double));
  for (const double value : values) {
    at = CodedOutputStream::WriteLittleEndian64ToArray(std::bit_cast<uint64_t>(value), at);
  }
}

void Writer::Message(int number, Writer&& message) {
  Tag(number, message.size_);
  const size_t at = text_.size();
  std::copy_n(message.text_.data(), message.text_.size(), Extend(message.text_.size()));
  for (Lent& lent : message.lent_) {
    lent_.push_back({at + lent.at, std::move(lent.payload)});
  }
  size_ += message.size_ - static_cast<int64_t>(message.text_.size());
}

void Writer::Message(int number, const Writer& fields, int bytes_number, Payload payload) {
  const auto length = static_cast<int64_t>(payload.bytes.size());
  const uint32_t tag =
      WireFormatLite::MakeTag(bytes_number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  const auto envelope = static_cast<int64_t>(CodedOutputStream::VarintSize32(tag) +
                                             CodedOutputStream::VarintSize64(length));
  Tag(number, fields.size_ + (length == 0 ? 0 : envelope + length));
  std::copy_n(fields.text_.data(), fields.text_.size(), Extend(fields.text_.size()));
  Bytes(bytes_number, std::move(payload));
}

void Writer::Bytes(int number, absl::Span<Payload> payloads) {
  int64_t size = 0;
  for (const Payload& payload : payloads) size += static_cast<int64_t>(payload.bytes.size());
  if (size > 0) Tag(number, size);
  for (Payload& payload : payloads) {
    if (payload.bytes.size() > kCopiedBytes) {
      size_ += static_cast<int64_t>(payload.bytes.size());
      lent_.push_back({text_.size(), ToSlice(std::move(payload))});
      continue;
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(payload.bytes.data());
    std::copy_n(bytes, payload.bytes.size(), Extend(payload.bytes.size()));
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
