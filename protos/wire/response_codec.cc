#include "protos/wire/response_codec.h"

#include <optional>
#include <string>
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

enum Slot { kPositionLosses, kLogSumExp, kArgmaxHits, kProbabilities, kGradient };

constexpr FieldRule kResponseRules[] = {
    TensorField(Response::kPositionLossesFieldNumber, kPositionLosses),
    TensorField(Response::kLogSumExpFieldNumber, kLogSumExp),
    TensorField(Response::kArgmaxHitsFieldNumber, kArgmaxHits),
    TensorField(Response::kProbabilitiesFieldNumber, kProbabilities),
    TensorField(Response::kGradientFieldNumber, kGradient),
};
constexpr FieldRule kBlockRules[] = {
    BytesField(v1::BlockResult::kPositionLossesFieldNumber, kPositionLosses),
    BytesField(v1::BlockResult::kLogSumExpFieldNumber, kLogSumExp),
    BytesField(v1::BlockResult::kArgmaxHitsFieldNumber, kArgmaxHits),
    BytesField(v1::BlockResult::kProbabilitiesFieldNumber, kProbabilities),
    BytesField(v1::BlockResult::kGradientFieldNumber, kGradient),
};
constexpr FieldRule kAnswerRules[] = {MessageField(Answer::kBlockFieldNumber, kBlockRules)};

absl::Status NotSet(absl::string_view field) {
  return absl::InternalError(absl::StrCat("answer: ", field, " is not set"));
}

// Whatever is wrong with an answer is no mistake of the caller.
absl::Status AsInternal(const absl::Status& status) {
  return absl::InternalError(absl::StrCat("answer: ", status.message()));
}

absl::Status ReadOutput(absl::string_view field, bool present, const v1::Tensor& tensor,
                        const LargeFields& large, int slot, std::optional<WireTensor>& into) {
  if (!present) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(into, ReadTensor(field, tensor, large, slot, Carries::kBytes));
  return absl::OkStatus();
}

absl::Status ReadOutputs(const Response& response, const LargeFields& large,
                         OutputFields<WireTensor>& read) {
  LOSSD_RETURN_IF_ERROR(ReadOutput("position_losses", response.has_position_losses(),
                                   response.position_losses(), large, kPositionLosses,
                                   read.position_losses));
  LOSSD_RETURN_IF_ERROR(ReadOutput("log_sum_exp", response.has_log_sum_exp(),
                                   response.log_sum_exp(), large, kLogSumExp, read.log_sum_exp));
  LOSSD_RETURN_IF_ERROR(ReadOutput("argmax_hits", response.has_argmax_hits(),
                                   response.argmax_hits(), large, kArgmaxHits, read.argmax_hits));
  LOSSD_RETURN_IF_ERROR(ReadOutput("probabilities", response.has_probabilities(),
                                   response.probabilities(), large, kProbabilities,
                                   read.probabilities));
  LOSSD_RETURN_IF_ERROR(ReadOutput("gradient", response.has_gradient(), response.gradient(), large,
                                   kGradient, read.gradient));
  return absl::OkStatus();
}

absl::StatusOr<LossResult> ReadResult(const v1::LossResult& result) {
  absl::StatusOr<LossResult> read = FromProto(result);
  if (!read.ok()) return AsInternal(read.status());
  return read;
}

std::optional<ScatteredBytes> ReadBytes(const std::string& parsed, const LargeFields& large,
                                        int slot) {
  ScatteredBytes bytes = large.Bytes(slot, parsed);
  if (bytes.size() == 0) return std::nullopt;
  return bytes;
}

absl::StatusOr<DecodedBlockResult> ReadBlock(const v1::BlockResult& block,
                                             const LargeFields& large) {
  if (!block.has_box()) return NotSet("block.box");
  if (!block.has_sums()) return NotSet("block.sums");
  absl::StatusOr<PartialSums> sums = FromProto(block.sums());
  if (!sums.ok()) return AsInternal(sums.status());
  return DecodedBlockResult{
      .box = FromProto(block.box()),
      .sums = *std::move(sums),
      .outputs = {.position_losses = ReadBytes(block.position_losses(), large, kPositionLosses),
                  .log_sum_exp = ReadBytes(block.log_sum_exp(), large, kLogSumExp),
                  .argmax_hits = ReadBytes(block.argmax_hits(), large, kArgmaxHits),
                  .probabilities = ReadBytes(block.probabilities(), large, kProbabilities),
                  .gradient = ReadBytes(block.gradient(), large, kGradient)},
      .storage = large.storage()};
}

void WriteOutput(int number, std::optional<OutgoingTensor> tensor, Writer& writer) {
  if (tensor) WriteTensor(number, *std::move(tensor), writer);
}

void WriteOutput(int number, std::optional<Payload> bytes, Writer& writer) {
  if (bytes) writer.Bytes(number, *std::move(bytes));
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
  if (const absl::Status outputs = ReadOutputs(*response, response.large(), read.outputs);
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
  WriteOutput(Response::kPositionLossesFieldNumber, std::move(outputs.position_losses), writer);
  WriteOutput(Response::kLogSumExpFieldNumber, std::move(outputs.log_sum_exp), writer);
  WriteOutput(Response::kArgmaxHitsFieldNumber, std::move(outputs.argmax_hits), writer);
  WriteOutput(Response::kProbabilitiesFieldNumber, std::move(outputs.probabilities), writer);
  WriteOutput(Response::kGradientFieldNumber, std::move(outputs.gradient), writer);
  return std::move(writer).Finish();
}

absl::StatusOr<grpc::ByteBuffer> EncodeBlockResult(const Box& box, const PartialSums& sums,
                                                   OutputFields<Payload> outputs) {
  using Block = v1::BlockResult;
  Writer inside;
  inside.Message(Block::kBoxFieldNumber, ToProto(box));
  inside.Message(Block::kSumsFieldNumber, ToProto(sums));
  WriteOutput(Block::kPositionLossesFieldNumber, std::move(outputs.position_losses), inside);
  WriteOutput(Block::kLogSumExpFieldNumber, std::move(outputs.log_sum_exp), inside);
  WriteOutput(Block::kArgmaxHitsFieldNumber, std::move(outputs.argmax_hits), inside);
  WriteOutput(Block::kProbabilitiesFieldNumber, std::move(outputs.probabilities), inside);
  WriteOutput(Block::kGradientFieldNumber, std::move(outputs.gradient), inside);
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
