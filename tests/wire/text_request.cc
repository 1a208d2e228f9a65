#include "tests/wire/text_request.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/exec/executor.h"
#include "core/exec/loss_run.h"
#include "core/plan/loss_plan.h"
#include "lossd/status_macros.h"
#include "protos/wire/request_codec.h"
#include "tests/wire/slicing.h"

namespace lossd::wire_test {
namespace {

bool Read(absl::string_view text, double* value) { return absl::SimpleAtod(text, value); }
bool Read(absl::string_view text, float* value) { return absl::SimpleAtof(text, value); }
bool Read(absl::string_view text, int64_t* value) { return absl::SimpleAtoi(text, value); }
bool Read(absl::string_view text, uint64_t* value) {
  if (absl::StartsWith(text, "0x")) return absl::SimpleHexAtoi(text, value);
  return absl::SimpleAtoi(text, value);
}

// Elements read as T and kept as Stored.
template <class T, class Stored>
std::string Elements(absl::string_view list) {
  std::string bytes;
  for (const absl::string_view text : absl::StrSplit(list, ' ', absl::SkipEmpty())) {
    T value{};
    EXPECT_TRUE(Read(text, &value)) << text;
    const auto stored = static_cast<Stored>(value);
    const bool nan = value != value;
    EXPECT_TRUE(nan || static_cast<T>(stored) == value) << text << " does not fit";
    bytes.append(reinterpret_cast<const char*>(&stored), sizeof(stored));
  }
  return bytes;
}

std::string Bytes(absl::string_view type, absl::string_view list) {
  if (type == "f32") return Elements<float, float>(list);
  if (type == "f64") return Elements<double, double>(list);
  if (type == "i8") return Elements<int64_t, int8_t>(list);
  if (type == "i16") return Elements<int64_t, int16_t>(list);
  if (type == "i32") return Elements<int64_t, int32_t>(list);
  if (type == "i64") return Elements<int64_t, int64_t>(list);
  if (type == "u8") return Elements<uint64_t, uint8_t>(list);
  if (type == "u16") return Elements<uint64_t, uint16_t>(list);
  if (type == "u32") return Elements<uint64_t, uint32_t>(list);
  if (type == "u64") return Elements<uint64_t, uint64_t>(list);
  int64_t zeros = 0;
  EXPECT_TRUE(type == "zeros" && Read(list, &zeros)) << "$" << type << "(" << list << ")";
  return std::string(zeros, '\0');
}

std::string Expand(const std::string& text) {
  std::string expanded;
  size_t at = 0;
  for (size_t dollar; (dollar = text.find('$', at)) != std::string::npos;) {
    const size_t open = text.find('(', dollar);
    const size_t close = text.find(')', dollar);
    if (open == std::string::npos || close == std::string::npos) break;
    const absl::string_view all(text);
    absl::StrAppend(&expanded, all.substr(at, dollar - at), "\"",
                    absl::CEscape(Bytes(all.substr(dollar + 1, open - dollar - 1),
                                        all.substr(open + 1, close - open - 1))),
                    "\"");
    at = close + 1;
  }
  return expanded + text.substr(at);
}

std::vector<std::byte> Joined(const std::optional<wire::WireTensor>& tensor) {
  if (!tensor) return {};
  std::vector<std::byte> bytes(tensor->data.size());
  tensor->data.CopyTo(0, tensor->data.size(), bytes.data());
  return bytes;
}

wire::Message Serialized(const google::protobuf::Message& message) {
  return wire::Message(InOneSlice(message.SerializeAsString()));
}

}  // namespace

v1::ComputeRequest ParseRequest(const std::string& text) {
  v1::ComputeRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(Expand(text), &request)) << text;
  return request;
}

v1::ComputeRequest RequestWith(const std::string& text) {
  v1::ComputeRequest request = ParseRequest(
      "spec { softmax {} }"
      "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(2 0) }"
      "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0.5 -1 0) }");
  const v1::ComputeRequest with = ParseRequest(text);
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  with.GetReflection()->ListFields(with, &fields);
  for (const auto* field : fields) request.GetReflection()->ClearField(&request, field);
  request.MergeFrom(with);
  return request;
}

absl::Status Answer(const v1::ComputeRequest& request) {
  LOSSD_ASSIGN_OR_RETURN(const wire::DecodedRequest decoded,
                         wire::DecodeComputeRequest(Serialized(request)));
  LOSSD_ASSIGN_OR_RETURN(LossPlan plan, LossPlan::Make(decoded.spec, decoded.Descs()));
  using Bytes = std::vector<std::byte>;
  SideTensors<Bytes> joined;
  SideBytes side;
  BoxInputs inputs;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<wire::WireTensor>& row = kTensorRows<wire::WireTensor>[i];
    const wire::WireTensor* const tensor = TensorOf(decoded.tensors, row);
    if (tensor == nullptr) continue;
    if (plan.IsInBlocks(row)) {
      inputs.*kTensorRows<ScatteredBytes>[i].in_block = tensor->data;
    } else {
      Bytes& bytes = joined.*kTensorRows<Bytes>[i].whole;
      bytes = Joined(*tensor);
      side.*kTensorRows<ByteSpan>[i].whole = bytes;
    }
  }
  Executor executor(1);
  LOSSD_ASSIGN_OR_RETURN(const LossRun run, LossRun::Prepare(std::move(plan), side, executor));
  if (run.plan().positions() == 0) return absl::OkStatus();
  const Box box = run.plan().whole();
  const LossPlan::BoxBytes bytes = run.plan().BytesOf(box);
  Outputs<Bytes> memory;
  LossOutputs spans;
  for (size_t i = 0; i < kOutputCount; ++i) {
    Bytes& output = memory.*kOutputRows<Bytes>[i].member;
    output.resize(bytes.*kOutputRows<int64_t>[i].member);
    spans.*kOutputRows<MutableByteSpan>[i].member = absl::MakeSpan(output);
  }
  return run.RunBox(box, inputs, spans, executor).status();
}

absl::Status PlanOf(const v1::ComputeRequest& request) {
  LOSSD_ASSIGN_OR_RETURN(const wire::DecodedRequest decoded,
                         wire::DecodeComputeRequest(Serialized(request)));
  return LossPlan::Make(decoded.spec, decoded.Descs()).status();
}

absl::Status PlanOfHeader(v1::ComputeRequest request) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  const google::protobuf::Reflection& reflection = *request.GetReflection();
  reflection.ListFields(request, &fields);
  for (const auto* field : fields) {
    if (field->message_type() != v1::Tensor::descriptor()) continue;
    static_cast<v1::Tensor*>(reflection.MutableMessage(&request, field))->clear_data();
  }
  v1::ComputeStreamRequest part;
  *part.mutable_header()->mutable_request() = std::move(request);
  LOSSD_ASSIGN_OR_RETURN(const wire::DecodedStreamPart decoded,
                         wire::DecodeStreamRequest(Serialized(part)));
  const wire::DecodedRequest& header = std::get<wire::DecodedHeader>(decoded).request;
  return LossPlan::Make(header.spec, header.Descs()).status();
}

}  // namespace lossd::wire_test
