#ifndef LOSSD_WIRE_RESPONSE_CODEC_H_
#define LOSSD_WIRE_RESPONSE_CODEC_H_

#include <memory>
#include <optional>
#include <variant>

#include "absl/status/statusor.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"
#include "protos/wire/message.h"
#include "protos/wire/request_codec.h"

// Responses, both ways, likewise without copying tensor bytes. Decoding trusts the peer no more
// than decoding of requests does: kInternal with a reason for a message that is not valid.

namespace lossd::wire {

// Absent where not wanted.
template <class T>
using OutputFields = Outputs<std::optional<T>>;

struct DecodedResponse {
  LossResult result;
  OutputFields<WireTensor> outputs;
  std::shared_ptr<const void> storage;
};

struct DecodedBlockResult {
  Box box;
  PartialSums sums;
  OutputFields<ScatteredBytes> outputs;  // absent where the field is empty
  std::shared_ptr<const void> storage;
};

using DecodedStreamAnswer = std::variant<DecodedBlockResult, LossResult>;

absl::StatusOr<DecodedResponse> DecodeComputeResponse(const Message& message);
absl::StatusOr<DecodedStreamAnswer> DecodeStreamResponse(const Message& message);

absl::StatusOr<grpc::ByteBuffer> EncodeComputeResponse(const LossResult& result,
                                                       OutputFields<OutgoingTensor> outputs);
absl::StatusOr<grpc::ByteBuffer> EncodeBlockResult(const Box& box, const PartialSums& sums,
                                                   OutputFields<Payload> outputs);
absl::StatusOr<grpc::ByteBuffer> EncodeSummary(const LossResult& result);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_RESPONSE_CODEC_H_
