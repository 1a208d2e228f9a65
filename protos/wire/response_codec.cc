#include "protos/wire/response_codec.h"

#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/result_codec.h"
#include "protos/wire/spec_codec.h"
#include "protos/wire/tensor_codec.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {
namespace {

using Response = v1::ComputeResponse;
using Answer = v1::ComputeStreamResponse;

// Slots are the indices of the rows.
constexpr int kOutputs = static_cast<int>(kOutputCount);
static_assert(kOutputs <= kMaxTensorSlots);

constexpr auto kResponseRules = [] {
  std::array<FieldRule, kOutputCount> rules{};
  for (int slot = 0; slot < kOutputs; ++slot) {
    const int number = kOutputRows<bool>[slot].response_field;
    rules[slot] = TensorField(number, slot, number);
  }
  return rules;
}();
constexpr auto kBlockRules = [] {
  std::array<FieldRule, kOutputCount> rules{};
  for (int slot = 0; slot < kOutputs; ++slot) {
    rules[slot] = BytesField(kOutputRows<bool>[slot].block_field, slot);
  }
  return rules;
}();
constexpr FieldRule kAnswerRules[] = {MessageField(Answer::kBlockFieldNumber, kBlockRules)};

absl::Status NotSet(absl::string_view field) {
  return absl::InternalError(absl::StrCat("answer: ", field, " is not set"));
}

// Whatever is wrong with an answer is no mistake of the caller.
absl::Status AsInternal(const absl::Status& status) {
  return absl::InternalError(absl::StrCat("answer: ", status.message()));
}

absl::Status ReadOutputs(const FieldSource& source, OutputFields<WireTensor>& read) {
  for (int slot = 0; slot < kOutputs; ++slot) {
    const auto& row = kOutputRows<std::optional<WireTensor>>[slot];
    if (!HasTensor(source, row.response_field, slot)) continue;
    LOSSD_RETURN_IF_ERROR(ReadTensor(row.name, source, row.response_field, slot,
                                     Carries::kBytesOrRegion, (read.*row.member).emplace()));
  }
  return absl::OkStatus();
}

absl::StatusOr<LossResult> ReadResult(const v1::LossResult& result) {
  absl::StatusOr<LossResult> read = FromProto(result);
  if (!read.ok()) return AsInternal(read.status());
  return read;
}

absl::StatusOr<DecodedBlockResult> ReadBlock(const v1::BlockResult& block,
                                             const LargeFields& large) {
  if (!block.has_box()) return NotSet("block.box");
  if (!block.has_sums()) return NotSet("block.sums");
  absl::StatusOr<PartialSums> sums = FromProto(block.sums());
  if (!sums.ok()) return AsInternal(sums.status());
  DecodedBlockResult read = {.box = FromProto(block.box()),
                             .sums = *std::move(sums),
                             .outputs = {},
                             .storage = large.storage()};
  for (int slot = 0; slot < kOutputs; ++slot) {
    const auto& row = kOutputRows<std::optional<ScatteredBytes>>[slot];
    ScatteredBytes bytes = ReadBytes({large, block}, row.block_field, slot);
    if (bytes.size() > 0) read.outputs.*row.member = std::move(bytes);
  }
  return read;
}

}  // namespace

absl::StatusOr<DecodedResponse> DecodeComputeResponse(const Message& message) {
  Parsed<Response> response;
  if (const absl::Status parsed = response.Parse(message, kResponseRules, kMaxSmallBytes);
      !parsed.ok()) {
    return AsInternal(parsed);
  }
  if (!response->has_result()) return NotSet("result");
  DecodedResponse read;
  LOSSD_ASSIGN_OR_RETURN(read.result, ReadResult(response->result()));
  if (const absl::Status outputs = ReadOutputs({response.large(), *response}, read.outputs);
      !outputs.ok()) {
    return AsInternal(outputs);
  }
  read.storage = response.large().storage();
  return read;
}

absl::StatusOr<DecodedStreamAnswer> DecodeStreamResponse(const Message& message) {
  Parsed<Answer> answer;
  if (const absl::Status parsed = answer.Parse(message, kAnswerRules, kMaxSmallBytes);
      !parsed.ok()) {
    return AsInternal(parsed);
  }
  switch (answer->part_case()) {
    case Answer::kBlock:
      return ReadBlock(answer->block(), answer.large());
    case Answer::kSummary:
      return ReadResult(answer->summary());
    case Answer::PART_NOT_SET:
      break;
  }
  return NotSet("part");
}

absl::StatusOr<grpc::ByteBuffer> EncodeComputeResponse(const LossResult& result,
                                                       OutputFields<OutgoingTensor> outputs) {
  Writer writer;
  writer.Message(Response::kResultFieldNumber, ToProto(result));
  for (const auto& row : kAnswerRows<std::optional<OutgoingTensor>>) {
    std::optional<OutgoingTensor>& output = outputs.*row.member;
    if (output) WriteTensor(row.response_field, *std::move(output), writer);
  }
  return std::move(writer).Finish();
}

absl::StatusOr<grpc::ByteBuffer> EncodeBlockResult(const Box& box, const PartialSums& sums,
                                                   OutputFields<Payload> outputs) {
  using Block = v1::BlockResult;
  Writer inside;
  inside.Message(Block::kBoxFieldNumber, ToProto(box));
  inside.Message(Block::kSumsFieldNumber, ToProto(sums));
  for (const auto& row : kAnswerRows<std::optional<Payload>>) {
    std::optional<Payload>& output = outputs.*row.member;
    if (output) inside.Bytes(row.block_field, *std::move(output));
  }
  Writer writer;
  writer.Message(Answer::kBlockFieldNumber, std::move(inside));
  return std::move(writer).Finish();
}

absl::StatusOr<grpc::ByteBuffer> EncodeSummary(const LossResult& result) {
  Writer writer;
  writer.Message(Answer::kSummaryFieldNumber, ToProto(result));
  return std::move(writer).Finish();
}

}  // namespace lossd::wire
