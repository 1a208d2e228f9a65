#include "protos/wire/info_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "lossd/v1/loss.pb.h"

namespace lossd::wire {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

grpc::ByteBuffer BufferOf(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// Of grpc.health.v1.HealthCheckResponse.ServingStatus, which is field 1 of the message.
constexpr int kServing = 1;
constexpr int kNotServing = 2;

// Far more than any message of this kind needs.
constexpr int64_t kMaxBytes = 1 << 20;

absl::StatusOr<std::string> FlatBytes(const Message& message, const char* what) {
  const int64_t size = message.bytes().size();
  if (size > kMaxBytes) {
    return absl::InternalError(
        absl::StrCat(what, " has ", size, " bytes; wanted at most ", kMaxBytes));
  }
  std::string flat(size, '\0');
  message.bytes().CopyTo(0, size, reinterpret_cast<std::byte*>(flat.data()));
  return flat;
}

absl::Status NotValid(const char* what) {
  return absl::InternalError(absl::StrCat(what, " is not valid protobuf"));
}

std::vector<DType> KnownDTypes(const google::protobuf::RepeatedField<int>& numbers) {
  std::vector<DType> known;
  for (const int number : numbers) {
    for (const DType dtype : kAllDTypes) {
      if (number == static_cast<int>(dtype)) known.push_back(dtype);
    }
  }
  return known;
}

}  // namespace

grpc::ByteBuffer EncodeServerInfoRequest() {
  return BufferOf(v1::GetServerInfoRequest().SerializeAsString());
}

grpc::ByteBuffer EncodeServerInfo(const ServerInfo& info) {
  v1::GetServerInfoResponse out;
  out.set_version(info.version);
  out.set_numerics_version(info.numerics_version);
  out.set_simd_target(info.simd_target);
  out.set_threads(info.threads);
  for (const std::string& loss : info.losses) out.add_losses(loss);
  for (const DType dtype : info.prediction_dtypes) {
    out.add_prediction_dtypes(static_cast<v1::DType>(dtype));
  }
  for (const DType dtype : info.label_dtypes) {
    out.add_label_dtypes(static_cast<v1::DType>(dtype));
  }
  out.set_max_unary_bytes(info.max_unary_bytes);
  out.set_max_block_bytes(info.max_block_bytes);
  out.set_max_side_bytes(info.max_side_bytes);
  out.set_max_tensor_bytes(info.max_tensor_bytes);
  out.mutable_options()->Assign(info.options.begin(), info.options.end());
  out.mutable_tensors()->Assign(info.tensors.begin(), info.tensors.end());
  out.mutable_outputs()->Assign(info.outputs.begin(), info.outputs.end());
  out.mutable_features()->Assign(info.features.begin(), info.features.end());
  return BufferOf(out.SerializeAsString());
}

absl::StatusOr<ServerInfo> DecodeServerInfo(const Message& message) {
  constexpr char kWhat[] = "the answer to GetServerInfo";
  const absl::StatusOr<std::string> flat = FlatBytes(message, kWhat);
  if (!flat.ok()) return flat.status();
  v1::GetServerInfoResponse in;
  if (!in.ParseFromString(*flat)) return NotValid(kWhat);
  ServerInfo info;
  info.version = in.version();
  info.numerics_version = in.numerics_version();
  info.simd_target = in.simd_target();
  info.threads = in.threads();
  info.losses.assign(in.losses().begin(), in.losses().end());
  info.prediction_dtypes = KnownDTypes(in.prediction_dtypes());
  info.label_dtypes = KnownDTypes(in.label_dtypes());
  info.max_unary_bytes = in.max_unary_bytes();
  info.max_block_bytes = in.max_block_bytes();
  info.max_side_bytes = in.max_side_bytes();
  info.max_tensor_bytes = in.max_tensor_bytes();
  info.options.assign(in.options().begin(), in.options().end());
  info.tensors.assign(in.tensors().begin(), in.tensors().end());
  info.outputs.assign(in.outputs().begin(), in.outputs().end());
  info.features.assign(in.features().begin(), in.features().end());
  return info;
}

// By hand: Debian ships no C++ library of the health messages. `service` is string field 1.
grpc::ByteBuffer EncodeHealthRequest(const std::string& service) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream sink(&bytes);
    CodedOutputStream out(&sink);
    if (!service.empty()) WireFormatLite::WriteString(1, service, &out);
  }
  return BufferOf(bytes);
}

grpc::ByteBuffer EncodeHealthResponse(bool serving) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream sink(&bytes);
    CodedOutputStream out(&sink);
    WireFormatLite::WriteEnum(1, serving ? kServing : kNotServing, &out);
  }
  return BufferOf(bytes);
}

absl::StatusOr<bool> DecodeHealthResponse(const Message& message) {
  constexpr char kWhat[] = "the answer of the health service";
  const absl::StatusOr<std::string> flat = FlatBytes(message, kWhat);
  if (!flat.ok()) return flat.status();
  CodedInputStream in(reinterpret_cast<const uint8_t*>(flat->data()),
                      static_cast<int>(flat->size()));
  uint64_t status = 0;
  while (const uint32_t tag = in.ReadTag()) {
    const bool is_status = tag == WireFormatLite::MakeTag(1, WireFormatLite::WIRETYPE_VARINT);
    if (is_status ? !in.ReadVarint64(&status) : !WireFormatLite::SkipField(&in, tag)) {
      return NotValid(kWhat);
    }
  }
  if (!in.ConsumedEntireMessage()) return NotValid(kWhat);
  return status == kServing;
}

}  // namespace lossd::wire
