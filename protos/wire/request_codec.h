#ifndef LOSSD_WIRE_REQUEST_CODEC_H_
#define LOSSD_WIRE_REQUEST_CODEC_H_

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/loss_spec.h"
#include "protos/wire/message.h"

// Requests, both ways. Decoding walks the protobuf by hand so that tensor bytes stay where they
// arrived; a message of unusual form (repeated fields that protobuf merges, odd encodings) goes
// through generated parsing, with the same result (walker.h).
//
// Decoding checks what can be known from the message alone: it is valid protobuf, with at most
// kMaxSmallBytes beside the data of tensors; required fields are set; enums are known
// (*_UNSPECIFIED: kInvalidArgument, unknown numbers: kUnimplemented, both naming the field); the
// rank is at most 8 and no extent negative; in a unary request the bytes of every tensor equal
// product(shape) * size(dtype), or a region takes their place where MayLieInRegion; in a stream
// header they are empty and the boxes at most kMaxBoxes. A field that is not known, anywhere in the
// message, is kUnimplemented; the error names the message and the number. What is not stated:
// kInvalidArgument. Ranges of options and the fit of shapes are LossPlan's concern.

namespace lossd::wire {

inline constexpr int kMaxBoxes = 65536;
inline constexpr int64_t kMaxSmallBytes = 64 << 10;  // and kMaxBoxBytes for each box of a header
inline constexpr int64_t kMaxBoxBytes = 48;

// What another process can change while it is read may decide no index and no amount.
constexpr bool MayLieInRegion(const TensorFacts& row) { return row.block_field != 0; }

// A unary request, or a stream's header (then all data is empty).
struct DecodedRequest {
  LossSpec spec;
  LossTensors<WireTensor> tensors;
  OutputRegions output_regions;  // of a unary request
  // Keeps the tensors' bytes alive; Message::storage() unless the message was of unusual form.
  std::shared_ptr<const void> storage;

  LossTensorDescs Descs() const { return DescsOf(tensors); }
};

struct DecodedHeader {
  DecodedRequest request;
  std::vector<Box> boxes;  // empty: everything
};

using lossd::SideKind;

struct DecodedSideData {
  SideKind kind = SideKind::kTargets;
  int64_t offset_bytes = 0;
  ScatteredBytes data;
  std::shared_ptr<const void> storage;
};

struct DecodedBlock : BlockTensors<ScatteredBytes> {
  Box box;
  std::shared_ptr<const void> storage;
};

// How many bytes a block has of each tensor.
BlockTensors<int64_t> SizesOf(const BlockTensors<ScatteredBytes>& block);

using DecodedStreamPart = std::variant<DecodedHeader, DecodedSideData, DecodedBlock>;

absl::StatusOr<DecodedRequest> DecodeComputeRequest(const Message& message);
absl::StatusOr<DecodedStreamPart> DecodeStreamRequest(const Message& message);

// The messages as bytes, large tensors not copied. More than kMaxMessageBytes in all:
// kInvalidArgument.
absl::StatusOr<grpc::ByteBuffer> EncodeComputeRequest(const LossSpec& spec,
                                                      LossTensors<OutgoingTensor> tensors,
                                                      const OutputRegions& regions = {});
absl::StatusOr<grpc::ByteBuffer> EncodeStreamHeader(const LossSpec& spec,
                                                    const LossTensorDescs& tensors,
                                                    const std::vector<Box>& boxes);
absl::StatusOr<grpc::ByteBuffer> EncodeSideData(SideKind kind, int64_t offset_bytes, Payload data);

// The payloads of each field are sent one after the other as one field.
absl::StatusOr<grpc::ByteBuffer> EncodeBlock(const Box& box,
                                             BlockTensors<std::vector<Payload>> tensors);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_REQUEST_CODEC_H_
