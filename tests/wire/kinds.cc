#include "tests/wire/kinds.h"

#include <deque>
#include <optional>
#include <utility>
#include <variant>

#include "lossd/status_macros.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"
#include "tests/wire/samples.h"
#include "tests/wire/slicing.h"

namespace lossd::wire_test {
namespace {

// Collects the large fields of a decoded message while they are turned into things to send.
class Recoder {
 public:
  wire::OutgoingTensor Tensor(const wire::WireTensor& tensor) {
    return {tensor.desc.dtype, tensor.desc.shape, tensor.desc.layout, Whole(tensor.data),
            tensor.region};
  }
  std::optional<wire::OutgoingTensor> Tensor(const std::optional<wire::WireTensor>& tensor) {
    if (!tensor) return std::nullopt;
    return Tensor(*tensor);
  }

  wire::Payload Whole(const ScatteredBytes& bytes) {
    fields_.push_back(bytes);
    const std::string& joined = joined_.emplace_back(Joined(bytes));
    return {ByteSpan(reinterpret_cast<const std::byte*>(joined.data()), joined.size()), nullptr};
  }
  std::optional<wire::Payload> Whole(const std::optional<ScatteredBytes>& bytes) {
    if (!bytes) return std::nullopt;
    return Whole(*bytes);
  }

  std::vector<wire::Payload> Pieces(const ScatteredBytes& bytes) {
    fields_.push_back(bytes);
    std::vector<wire::Payload> pieces;
    for (const ByteSpan piece : bytes.pieces()) pieces.push_back({piece, nullptr});
    return pieces;
  }

  absl::StatusOr<Recoded> Finish(const absl::StatusOr<grpc::ByteBuffer>& encoded,
                                 std::shared_ptr<const void> storage) {
    if (!encoded.ok()) return encoded.status();
    return Recoded{Joined(*encoded), fields_, std::move(storage)};
  }

 private:
  std::vector<ScatteredBytes> fields_;
  std::deque<std::string> joined_;
};

absl::StatusOr<Recoded> Recode(const wire::DecodedRequest& request) {
  Recoder r;
  const auto tensor = [&r](const TensorFacts&, const wire::WireTensor& sent) {
    return r.Tensor(sent);
  };
  return r.Finish(wire::EncodeComputeRequest(
                      request.spec, MapTensors<wire::OutgoingTensor>(request.tensors, tensor),
                      request.output_regions),
                  request.storage);
}

absl::StatusOr<Recoded> Recode(const wire::DecodedHeader& header) {
  Recoder r;
  return r.Finish(
      wire::EncodeStreamHeader(header.request.spec, header.request.Descs(), header.boxes),
      header.request.storage);
}

absl::StatusOr<Recoded> Recode(const wire::DecodedSideData& side) {
  Recoder r;
  return r.Finish(wire::EncodeSideData(side.kind, side.offset_bytes, r.Whole(side.data)),
                  side.storage);
}

absl::StatusOr<Recoded> Recode(const wire::DecodedBlock& block) {
  Recoder r;
  return r.Finish(
      wire::EncodeBlock(block.box, {.predictions = r.Pieces(block.predictions),
                                    .class_probabilities = r.Pieces(block.class_probabilities),
                                    .target_values = r.Pieces(block.target_values),
                                    .second_predictions = r.Pieces(block.second_predictions)}),
      block.storage);
}

absl::StatusOr<Recoded> Recode(const wire::DecodedResponse& response) {
  Recoder r;
  const auto tensor = [&r](const OutputFacts&, const auto& output) { return r.Tensor(output); };
  return r.Finish(
      wire::EncodeComputeResponse(response.result, MapOutputs<std::optional<wire::OutgoingTensor>>(
                                                       response.outputs, tensor)),
      response.storage);
}

absl::StatusOr<Recoded> Recode(const wire::DecodedBlockResult& block) {
  Recoder r;
  const auto whole = [&r](const OutputFacts&, const auto& output) { return r.Whole(output); };
  return r.Finish(
      wire::EncodeBlockResult(block.box, block.sums,
                              MapOutputs<std::optional<wire::Payload>>(block.outputs, whole)),
      block.storage);
}

absl::StatusOr<Recoded> Recode(const LossResult& summary) {
  Recoder r;
  return r.Finish(wire::EncodeSummary(summary), nullptr);
}

absl::StatusOr<Recoded> RecodeRequest(const wire::Message& message) {
  LOSSD_ASSIGN_OR_RETURN(const auto decoded, wire::DecodeComputeRequest(message));
  return Recode(decoded);
}

absl::StatusOr<Recoded> RecodePart(const wire::Message& message) {
  LOSSD_ASSIGN_OR_RETURN(const auto decoded, wire::DecodeStreamRequest(message));
  return std::visit([](const auto& part) { return Recode(part); }, decoded);
}

absl::StatusOr<Recoded> RecodeResponse(const wire::Message& message) {
  LOSSD_ASSIGN_OR_RETURN(const auto decoded, wire::DecodeComputeResponse(message));
  return Recode(decoded);
}

absl::StatusOr<Recoded> RecodeAnswer(const wire::Message& message) {
  LOSSD_ASSIGN_OR_RETURN(const auto decoded, wire::DecodeStreamResponse(message));
  return std::visit([](const auto& answer) { return Recode(answer); }, decoded);
}

template <class Pb>
Kind MakeKind(std::string name, Pb (*sample)(Random&), absl::StatusCode invalid,
              absl::StatusOr<Recoded> (*recode)(const wire::Message&)) {
  return {.name = std::move(name),
          .type = Pb::descriptor(),
          .invalid = invalid,
          .sample = [sample](Random& random) { return sample(random).SerializeAsString(); },
          .canonical = [invalid](const std::string& bytes) -> std::optional<std::string> {
            Pb parsed;
            if (!parsed.ParseFromString(bytes)) return std::nullopt;
            const bool answer = invalid == absl::StatusCode::kInternal;
            if (answer) parsed.DiscardUnknownFields();
            return parsed.SerializeAsString();
          },
          .with_defaults =
              [](const std::string& bytes) {
                Pb parsed;
                parsed.ParseFromString(bytes);
                parsed.DiscardUnknownFields();
                FillDefaults(parsed);
                return parsed.SerializeAsString();
              },
          .recode = recode};
}

}  // namespace

const std::vector<Kind>& AllKinds() {
  constexpr auto kCaller = absl::StatusCode::kInvalidArgument;
  constexpr auto kPeer = absl::StatusCode::kInternal;
  static const auto& kinds = *new std::vector<Kind>{
      MakeKind("Request", &SampleRequest, kCaller, &RecodeRequest),
      MakeKind("Header", &SampleHeader, kCaller, &RecodePart),
      MakeKind("SideData", &SampleSideData, kCaller, &RecodePart),
      MakeKind("Block", &SampleBlock, kCaller, &RecodePart),
      MakeKind("Response", &SampleResponse, kPeer, &RecodeResponse),
      MakeKind("BlockResult", &SampleBlockResult, kPeer, &RecodeAnswer),
      MakeKind("Summary", &SampleSummary, kPeer, &RecodeAnswer),
  };
  return kinds;
}

}  // namespace lossd::wire_test
