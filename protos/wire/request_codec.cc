#include "protos/wire/request_codec.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/enums.h"
#include "protos/wire/spec_codec.h"
#include "protos/wire/tensor_codec.h"
#include "protos/wire/unknown_fields.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {
namespace {

using Request = v1::ComputeRequest;
using Part = v1::ComputeStreamRequest;

// Slots: of tensors the index of their row, also for what a block has of them.
constexpr int kTensors = static_cast<int>(kTensorCount);
constexpr SpecSlots kSpec = {.loss = kTensors, .outputs = kTensors + 1};
constexpr int kSide = kTensors + 2;
static_assert(kTensors <= kMaxTensorSlots && kSide < kMaxSlots);

constexpr auto kSpecRules = SpecFields(kSpec);
constexpr auto kRequestRules = [] {
  std::array<FieldRule, kTensorCount + 1> rules{};
  rules[kTensors] = MessageField(Request::kSpecFieldNumber, kSpecRules);
  int first_target = 0;
  int slot = 0;
  for (const TensorFacts& row : kTensorRows<WireTensor>) {
    if (row.target_kind && first_target == 0) first_target = row.number();
    rules[slot] = TensorField(row.number(), slot, row.target_kind ? first_target : row.number());
    ++slot;
  }
  return rules;
}();
constexpr FieldRule kHeaderRules[] = {
    MessageField(v1::StreamHeader::kRequestFieldNumber, kRequestRules),
};
constexpr FieldRule kSideRules[] = {
    BytesField(v1::SideData::kDataFieldNumber, kSide),
};
constexpr size_t kBlockTensors = std::ranges::count_if(
    kTensorRows<WireTensor>, [](const TensorFacts& row) { return row.block_field != 0; });
constexpr auto kBlockRules = [] {
  std::array<FieldRule, kBlockTensors> rules{};
  size_t count = 0;
  int slot = 0;
  for (const TensorFacts& row : kTensorRows<WireTensor>) {
    if (row.block_field != 0) rules[count++] = BytesField(row.block_field, slot);
    ++slot;
  }
  return rules;
}();
constexpr FieldRule kPartRules[] = {
    MessageField(Part::kHeaderFieldNumber, Part::kHeaderFieldNumber, kHeaderRules),
    MessageField(Part::kSideDataFieldNumber, Part::kHeaderFieldNumber, kSideRules),
    MessageField(Part::kBlockFieldNumber, Part::kHeaderFieldNumber, kBlockRules),
};
static_assert(kTensorDataField == v1::Tensor::kDataFieldNumber);

absl::Status NotSet(absl::string_view field, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is not set; wanted ", wanted));
}

// "class_indices or class_probabilities": the targets of which the loss takes one.
std::string TargetNames(const LossFacts& loss) {
  std::string names;
  for (const TensorFacts& row : kTensorRows<WireTensor>) {
    if (!row.target_kind || !Takes(loss, row.role)) continue;
    absl::StrAppend(&names, names.empty() ? "" : " or ", std::string(row.name));
  }
  return names;
}

absl::Status ReadTensors(const FieldSource& source, const LossFacts& loss, Carries carries,
                         LossTensors<WireTensor>& read) {
  bool has_targets = false;
  bool has_predictions = false;
  std::array<bool, kTensorCount> has;
  for (int slot = 0; slot < kTensors; ++slot) {
    const TensorFacts& row = kTensorRows<WireTensor>[slot];
    has[slot] = HasTensor(source, row.number(), slot);
    has_targets |= has[slot] && row.target_kind;
    has_predictions |= has[slot] && row.role == Role::kPredictions;
  }
  if (!has_targets) {
    if (const std::string names = TargetNames(loss); !names.empty())
      return NotSet("targets", names);
    read.target_kind = TargetKind::kNone;
  }
  if (!has_predictions) return NotSet("predictions", "a tensor");
  for (int slot = 0; slot < kTensors; ++slot) {
    if (!has[slot]) continue;
    const TensorRow<WireTensor>& row = kTensorRows<WireTensor>[slot];
    const bool region = carries == Carries::kBytes && MayLieInRegion(row);
    LOSSD_RETURN_IF_ERROR(ReadTensor(row.name, source, row.number(), slot,
                                     region ? Carries::kBytesOrRegion : carries,
                                     AddTensor(row, read)));
  }
  return absl::OkStatus();
}

absl::Status ReadRequest(const Request& request, const LargeFields& large, Carries carries,
                         DecodedRequest& read) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(request));
  if (!request.has_spec()) return NotSet("spec", "a LossSpec");
  LOSSD_ASSIGN_OR_RETURN(read.spec, FromProto(request.spec(), large, kSpec));
  LOSSD_RETURN_IF_ERROR(ReadTensors({large, request, /*refuses_unknown=*/true},
                                    FactsOf(read.spec.loss), carries, read.tensors));
  LOSSD_ASSIGN_OR_RETURN(read.output_regions, ReadOutputRegions(read.spec, request.spec().outputs(),
                                                                large, kSpec.outputs));
  if (carries == Carries::kNothing && read.output_regions != OutputRegions()) {
    return absl::InvalidArgumentError(
        "outputs name a region; wanted none, for outputs of a stream travel in its blocks");
  }
  read.storage = large.storage();
  return absl::OkStatus();
}

absl::StatusOr<DecodedHeader> ReadHeader(const v1::StreamHeader& header, const LargeFields& large) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(header));
  if (!header.has_request()) return NotSet("header.request", "a ComputeRequest");
  DecodedHeader read;
  LOSSD_RETURN_IF_ERROR(ReadRequest(header.request(), large, Carries::kNothing, read.request));
  if (header.boxes_size() > kMaxBoxes) {
    return absl::InvalidArgumentError(absl::StrCat("header.boxes has ", header.boxes_size(),
                                                   " entries; wanted at most ", kMaxBoxes));
  }
  read.boxes.reserve(header.boxes_size());
  for (const v1::Box& box : header.boxes()) {
    LOSSD_RETURN_IF_ERROR(CheckKnown(box));
    read.boxes.push_back(FromProto(box));
  }
  return read;
}

absl::StatusOr<DecodedSideData> ReadSideData(const v1::SideData& side, const LargeFields& large) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(side));
  DecodedSideData read;
  LOSSD_ASSIGN_OR_RETURN(
      read.kind, ReadEnum<SideKind>("side_data.kind", side.kind(),
                                    {v1::SideData::Kind_IsValid, v1::SideData::Kind_descriptor}));
  read.offset_bytes = side.offset_bytes();
  read.data = ReadBytes({large, side}, v1::SideData::kDataFieldNumber, kSide);
  read.storage = large.storage();
  return read;
}

absl::StatusOr<DecodedBlock> ReadBlock(const v1::PredictionBlock& block, const LargeFields& large) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(block));
  if (!block.has_box()) return NotSet("block.box", "a Box");
  LOSSD_RETURN_IF_ERROR(CheckKnown(block.box()));
  DecodedBlock read;
  read.box = FromProto(block.box());
  for (int slot = 0; slot < kTensors; ++slot) {
    const TensorRow<ScatteredBytes>& row = kTensorRows<ScatteredBytes>[slot];
    if (row.block_field == 0) continue;
    read.*row.in_block = ReadBytes({large, block}, row.block_field, slot);
  }
  read.storage = large.storage();
  return read;
}

void WriteTensors(LossTensors<OutgoingTensor> tensors, Writer& writer) {
  for (const TensorRow<OutgoingTensor>& row : kTensorRows<OutgoingTensor>) {
    OutgoingTensor* const tensor = TensorOf(tensors, row);
    if (tensor != nullptr) WriteTensor(row.number(), std::move(*tensor), writer);
  }
}

absl::StatusOr<grpc::ByteBuffer> FinishPart(int number, Writer&& part) {
  Writer writer;
  writer.Message(number, std::move(part));
  return std::move(writer).Finish();
}

}  // namespace

BlockTensors<int64_t> SizesOf(const BlockTensors<ScatteredBytes>& block) {
  BlockTensors<int64_t> sizes;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<ScatteredBytes>& row = kTensorRows<ScatteredBytes>[i];
    if (row.block_field == 0) continue;
    sizes.*kTensorRows<int64_t>[i].in_block = (block.*row.in_block).size();
  }
  return sizes;
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
  LOSSD_RETURN_IF_ERROR(CheckKnown(*part));
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
                                                      LossTensors<OutgoingTensor> tensors,
                                                      const OutputRegions& regions) {
  Writer writer;
  writer.Message(Request::kSpecFieldNumber, ToProto(spec, regions));
  WriteTensors(std::move(tensors), writer);
  return std::move(writer).Finish();
}
absl::StatusOr<grpc::ByteBuffer> EncodeStreamHeader(const LossSpec& spec,
                                                    const LossTensorDescs& tensors,
                                                    const std::vector<Box>& boxes) {
  Writer request;
  request.Message(Request::kSpecFieldNumber, ToProto(spec));
  WriteTensors(
      MapTensors<OutgoingTensor>(tensors,
                                 [](const TensorFacts&, const TensorDesc& desc) {
                                   return OutgoingTensor{desc.dtype, desc.shape, desc.layout, {}};
                                 }),
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
                                             BlockTensors<std::vector<Payload>> tensors) {
  using Payloads = std::vector<Payload>;
  Writer writer;
  writer.Message(v1::PredictionBlock::kBoxFieldNumber, ToProto(box));
  for (const TensorRow<Payloads>& row : kTensorRows<Payloads>) {
    if (row.block_field == 0) continue;
    writer.Bytes(row.block_field, absl::MakeSpan(tensors.*row.in_block));
  }
  return FinishPart(Part::kBlockFieldNumber, std::move(writer));
}

}  // namespace lossd::wire
