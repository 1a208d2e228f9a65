#include "protos/wire/request_codec.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/loss_codec.h"
#include "protos/wire/spec_codec.h"
#include "protos/wire/tensor_codec.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {
namespace {

static_assert(static_cast<int>(SideKind::kClassWeights) == v1::SideData::KIND_CLASS_WEIGHTS);
static_assert(static_cast<int>(SideKind::kPositionWeights) == v1::SideData::KIND_POSITION_WEIGHTS);
static_assert(static_cast<int>(SideKind::kUpstreamGradient) ==
              v1::SideData::KIND_UPSTREAM_GRADIENT);
static_assert(static_cast<int>(SideKind::kTargets) == v1::SideData::KIND_TARGETS);

using Request = v1::ComputeRequest;
using Part = v1::ComputeStreamRequest;

enum Slot {
  kClassIndices,
  kClassProbabilities,
  kClassWeights,
  kPositionWeights,
  kUpstreamGradient,
  kPredictions,
  kSide,
  kBlockProbabilities,
  kBlockPredictions,
  kLoss,
};

constexpr auto kSpecRules = LossFields(kLoss);
constexpr FieldRule kRequestRules[] = {
    MessageField(Request::kSpecFieldNumber, kSpecRules),
    TensorField(Request::kClassIndicesFieldNumber, kClassIndices),
    TensorField(Request::kClassProbabilitiesFieldNumber, kClassProbabilities),
    TensorField(Request::kClassWeightsFieldNumber, kClassWeights),
    TensorField(Request::kPositionWeightsFieldNumber, kPositionWeights),
    TensorField(Request::kUpstreamGradientFieldNumber, kUpstreamGradient),
    TensorField(Request::kPredictionsFieldNumber, kPredictions),
};
constexpr FieldRule kHeaderRules[] = {
    MessageField(v1::StreamHeader::kRequestFieldNumber, kRequestRules),
};
constexpr FieldRule kSideRules[] = {
    BytesField(v1::SideData::kDataFieldNumber, kSide),
};
constexpr FieldRule kBlockRules[] = {
    BytesField(v1::PredictionBlock::kClassProbabilitiesFieldNumber, kBlockProbabilities),
    BytesField(v1::PredictionBlock::kPredictionsFieldNumber, kBlockPredictions),
};
constexpr FieldRule kPartRules[] = {
    MessageField(Part::kHeaderFieldNumber, kHeaderRules),
    MessageField(Part::kSideDataFieldNumber, kSideRules),
    MessageField(Part::kBlockFieldNumber, kBlockRules),
};
static_assert(kTensorDataField == v1::Tensor::kDataFieldNumber);

absl::Status NotSet(absl::string_view field, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is not set; wanted ", wanted));
}

absl::Status ReadOptionalTensor(absl::string_view field, bool present, const v1::Tensor& tensor,
                                const LargeFields& large, int slot, Carries carries,
                                std::optional<WireTensor>& into) {
  if (!present) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(into, ReadTensor(field, tensor, large, slot, carries));
  return absl::OkStatus();
}

absl::Status ReadTensors(const Request& request, const LargeFields& large, Carries carries,
                         LossTensors<WireTensor>& read) {
  if (request.targets_case() == Request::TARGETS_NOT_SET) {
    return NotSet("targets", "class_indices or class_probabilities");
  }
  if (!request.has_predictions()) return NotSet("predictions", "a tensor");
  if (request.has_class_indices()) {
    read.target_kind = TargetKind::kClassIndices;
    LOSSD_ASSIGN_OR_RETURN(read.targets, ReadTensor("class_indices", request.class_indices(), large,
                                                    kClassIndices, carries));
  } else {
    read.target_kind = TargetKind::kClassProbabilities;
    LOSSD_ASSIGN_OR_RETURN(read.targets,
                           ReadTensor("class_probabilities", request.class_probabilities(), large,
                                      kClassProbabilities, carries));
  }
  LOSSD_RETURN_IF_ERROR(ReadOptionalTensor("class_weights", request.has_class_weights(),
                                           request.class_weights(), large, kClassWeights, carries,
                                           read.class_weights));
  LOSSD_RETURN_IF_ERROR(ReadOptionalTensor("position_weights", request.has_position_weights(),
                                           request.position_weights(), large, kPositionWeights,
                                           carries, read.position_weights));
  LOSSD_RETURN_IF_ERROR(ReadOptionalTensor("upstream_gradient", request.has_upstream_gradient(),
                                           request.upstream_gradient(), large, kUpstreamGradient,
                                           carries, read.upstream_gradient));
  LOSSD_ASSIGN_OR_RETURN(read.predictions, ReadTensor("predictions", request.predictions(), large,
                                                      kPredictions, carries));
  return absl::OkStatus();
}

absl::Status ReadRequest(const Request& request, const LargeFields& large, Carries carries,
                         DecodedRequest& read) {
  if (!request.has_spec()) return NotSet("spec", "a LossSpec");
  LOSSD_ASSIGN_OR_RETURN(read.spec, FromProto(request.spec(), large, kLoss));
  LOSSD_RETURN_IF_ERROR(ReadTensors(request, large, carries, read.tensors));
  read.storage = large.storage();
  return absl::OkStatus();
}

absl::StatusOr<DecodedHeader> ReadHeader(const v1::StreamHeader& header, const LargeFields& large) {
  if (!header.has_request()) return NotSet("header.request", "a ComputeRequest");
  DecodedHeader read;
  LOSSD_RETURN_IF_ERROR(ReadRequest(header.request(), large, Carries::kNothing, read.request));
  if (header.boxes_size() > kMaxBoxes) {
    return absl::InvalidArgumentError(absl::StrCat("header.boxes has ", header.boxes_size(),
                                                   " entries; wanted at most ", kMaxBoxes));
  }
  read.boxes.reserve(header.boxes_size());
  for (const v1::Box& box : header.boxes()) read.boxes.push_back(FromProto(box));
  return read;
}

absl::StatusOr<DecodedSideData> ReadSideData(const v1::SideData& side, const LargeFields& large) {
  DecodedSideData read;
  LOSSD_ASSIGN_OR_RETURN(
      read.kind, ReadEnum<SideKind>("side_data.kind", side.kind(),
                                    {v1::SideData::Kind_IsValid, v1::SideData::Kind_descriptor}));
  read.offset_bytes = side.offset_bytes();
  read.data = large.Bytes(kSide, side.data());
  read.storage = large.storage();
  return read;
}

absl::StatusOr<DecodedBlock> ReadBlock(const v1::PredictionBlock& block, const LargeFields& large) {
  if (!block.has_box()) return NotSet("block.box", "a Box");
  return DecodedBlock{
      .box = FromProto(block.box()),
      .class_probabilities = large.Bytes(kBlockProbabilities, block.class_probabilities()),
      .predictions = large.Bytes(kBlockPredictions, block.predictions()),
      .storage = large.storage()};
}

void WriteOptional(int number, std::optional<OutgoingTensor> tensor, Writer& writer) {
  if (tensor) WriteTensor(number, *std::move(tensor), writer);
}

void WriteTensors(LossTensors<OutgoingTensor> tensors, Writer& writer) {
  WriteTensor(tensors.target_kind == TargetKind::kClassIndices
                  ? Request::kClassIndicesFieldNumber
                  : Request::kClassProbabilitiesFieldNumber,
              std::move(tensors.targets), writer);
  WriteOptional(Request::kClassWeightsFieldNumber, std::move(tensors.class_weights), writer);
  WriteOptional(Request::kPositionWeightsFieldNumber, std::move(tensors.position_weights), writer);
  WriteOptional(Request::kUpstreamGradientFieldNumber, std::move(tensors.upstream_gradient),
                writer);
  WriteTensor(Request::kPredictionsFieldNumber, std::move(tensors.predictions), writer);
}

// What a tensor is, without its bytes.
OutgoingTensor Described(const TensorDesc& desc) {
  return {desc.dtype, desc.shape, desc.layout, {}};
}
std::optional<OutgoingTensor> Described(const std::optional<TensorDesc>& desc) {
  if (!desc) return std::nullopt;
  return Described(*desc);
}

absl::StatusOr<grpc::ByteBuffer> FinishPart(int number, Writer&& part) {
  Writer writer;
  writer.Message(number, std::move(part));
  return std::move(writer).Finish();
}

}  // namespace

LossTensorDescs DecodedRequest::Descs() const {
  const auto desc = [](const std::optional<WireTensor>& tensor) -> std::optional<TensorDesc> {
    if (!tensor) return std::nullopt;
    return tensor->desc;
  };
  return {.predictions = tensors.predictions.desc,
          .target_kind = tensors.target_kind,
          .targets = tensors.targets.desc,
          .class_weights = desc(tensors.class_weights),
          .position_weights = desc(tensors.position_weights),
          .upstream_gradient = desc(tensors.upstream_gradient)};
}

absl::StatusOr<DecodedRequest> DecodeComputeRequest(const Message& message) {
  Parsed<Request> request;
  LOSSD_RETURN_IF_ERROR(request.Parse(message, kRequestRules, kMaxSmallBytes));
  DecodedRequest read;
  LOSSD_RETURN_IF_ERROR(ReadRequest(*request, request.large(), Carries::kBytes, read));
  return read;
}

absl::StatusOr<DecodedStreamPart> DecodeStreamRequest(const Message& message) {
  constexpr int64_t kMaxSmall = kMaxSmallBytes + kMaxBoxes * kMaxBoxBytes;
  Parsed<Part> part;
  LOSSD_RETURN_IF_ERROR(part.Parse(message, kPartRules, kMaxSmall));
  const LargeFields& large = part.large();
  switch (part->part_case()) {
    case Part::kHeader:
      return ReadHeader(part->header(), large);
    case Part::kSideData:
      return ReadSideData(part->side_data(), large);
    case Part::kBlock:
      return ReadBlock(part->block(), large);
    case Part::PART_NOT_SET:
      break;
  }
  return NotSet("part", "one of header, side_data, block");
}

absl::StatusOr<grpc::ByteBuffer> EncodeComputeRequest(const LossSpec& spec,
                                                      LossTensors<OutgoingTensor> tensors) {
  Writer writer;
  writer.Message(Request::kSpecFieldNumber, ToProto(spec));
  WriteTensors(std::move(tensors), writer);
  return std::move(writer).Finish();
}
absl::StatusOr<grpc::ByteBuffer> EncodeStreamHeader(const LossSpec& spec,
                                                    const LossTensorDescs& tensors,
                                                    const std::vector<Box>& boxes) {
  Writer request;
  request.Message(Request::kSpecFieldNumber, ToProto(spec));
  WriteTensors({.predictions = Described(tensors.predictions),
                .target_kind = tensors.target_kind,
                .targets = Described(tensors.targets),
                .class_weights = Described(tensors.class_weights),
                .position_weights = Described(tensors.position_weights),
                .upstream_gradient = Described(tensors.upstream_gradient)},
               request);
  Writer header;
  header.Message(v1::StreamHeader::kRequestFieldNumber, std::move(request));
  for (const Box& box : boxes) header.Message(v1::StreamHeader::kBoxesFieldNumber, ToProto(box));
  return FinishPart(Part::kHeaderFieldNumber, std::move(header));
}

absl::StatusOr<grpc::ByteBuffer> EncodeSideData(SideKind kind, int64_t offset_bytes, Payload data) {
  Writer writer;
  writer.Number(v1::SideData::kKindFieldNumber, static_cast<int>(kind));
  writer.Number(v1::SideData::kOffsetBytesFieldNumber, offset_bytes);
  writer.Bytes(v1::SideData::kDataFieldNumber, std::move(data));
  return FinishPart(Part::kSideDataFieldNumber, std::move(writer));
}

absl::StatusOr<grpc::ByteBuffer> EncodeBlock(const Box& box,
                                             std::vector<Payload> class_probabilities,
                                             std::vector<Payload> predictions) {
  Writer writer;
  writer.Message(v1::PredictionBlock::kBoxFieldNumber, ToProto(box));
  writer.Bytes(v1::PredictionBlock::kClassProbabilitiesFieldNumber,
               absl::MakeSpan(class_probabilities));
  writer.Bytes(v1::PredictionBlock::kPredictionsFieldNumber, absl::MakeSpan(predictions));
  return FinishPart(Part::kBlockFieldNumber, std::move(writer));
}

}  // namespace lossd::wire
