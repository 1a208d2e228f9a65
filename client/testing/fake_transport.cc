#include "client/testing/fake_transport.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/call/block_io.h"
#include "client/call/geometry.h"
#include "client/testing/local_transport.h"
#include "lossd/status_macros.h"
#include "protos/wire/info_codec.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"

namespace lossd {
namespace {

using Bytes = std::vector<std::byte>;

wire::Payload Lasting(ByteSpan bytes) {
  const auto copy = std::make_shared<Bytes>(bytes.begin(), bytes.end());
  return {*copy, [copy] {}};
}

// The tensors of a request, whole and in one piece each.
struct Owned {
  LossTensors<Bytes> bytes;
  LossInputs views;  // of `bytes`
};

// Memory for each output that is wanted.
Outputs<Bytes> MemoryFor(const OutputSet& wanted, const Geometry& g) {
  return MapOutputs<Bytes>(wanted, [&g](const OutputFacts& row, bool is_wanted) {
    return Bytes(is_wanted ? g.positions() * g.RowsOf(row) * g.OutputSize(row) : 0);
  });
}

LossOutputs Views(Outputs<Bytes>& memory) {
  LossOutputs views;
  for (size_t i = 0; i < kOutputCount; ++i) {
    views.*kOutputRows<MutableByteSpan>[i].member =
        absl::MakeSpan(memory.*kOutputRows<Bytes>[i].member);
  }
  return views;
}

// Makes `to` a tensor of a request: memory of the described size, filled with `data` if there is
// any.
absl::Status Own(const wire::WireTensor& from, Bytes& to, TensorView& view) {
  const std::optional<int64_t> size = ByteCount(from.desc);
  if (!size.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape ", ShapeString(from.desc.shape), " is no shape of a tensor"));
  }
  to.resize(*size);
  if (from.data.size() == *size) from.data.CopyTo(0, *size, to.data());
  view = {from.desc, to};
  return absl::OkStatus();
}

absl::Status Own(const LossTensors<wire::WireTensor>& from, Owned& to) {
  for (size_t i = 0; i < kTensorCount; ++i) {
    const wire::WireTensor* const tensor = TensorOf(from, kTensorRows<wire::WireTensor>[i]);
    if (tensor == nullptr) continue;
    LOSSD_RETURN_IF_ERROR(Own(*tensor, AddTensor(kTensorRows<Bytes>[i], to.bytes),
                              AddTensor(kTensorRows<TensorView>[i], to.views)));
  }
  return absl::OkStatus();
}

absl::StatusOr<wire::Message> Encoded(absl::StatusOr<grpc::ByteBuffer> buffer) {
  if (!buffer.ok()) return buffer.status();
  return wire::Message(*buffer);
}

absl::StatusOr<wire::Message> ComputeUnary(const FakeService& service,
                                           const wire::Message& message) {
  LOSSD_ASSIGN_OR_RETURN(const wire::DecodedRequest request, wire::DecodeComputeRequest(message));
  Owned owned;
  LOSSD_RETURN_IF_ERROR(Own(request.tensors, owned));
  const std::optional<Geometry> geometry = GeometryOf(request.spec, owned.views);
  if (!geometry.has_value()) return absl::InvalidArgumentError("the shapes do not fit together");
  Outputs<Bytes> outputs = MemoryFor(request.spec.outputs, *geometry);
  LOSSD_ASSIGN_OR_RETURN(const LossResult result,
                         service.compute(request.spec, owned.views, Views(outputs)));
  wire::OutputFields<wire::OutgoingTensor> fields;
  const TensorDesc& predictions = request.tensors.predictions.desc;
  const TensorDesc& labels = request.tensors.targets.desc;
  const OutputDTypes dtypes = OutputDTypesOf(request.spec, DescsOf(request.tensors));
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<Bytes>& row = kOutputRows<Bytes>[i];
    if (!(request.spec.outputs.*kOutputRows<bool>[i].member)) continue;
    const TensorDesc& like = row.per == Per::kElement ? predictions : labels;
    fields.*kOutputRows<std::optional<wire::OutgoingTensor>>[i].member = wire::OutgoingTensor{
        dtypes.Of(row.dtype), like.shape, like.layout, Lasting(outputs.*row.member)};
  }
  return Encoded(wire::EncodeComputeResponse(result, std::move(fields)));
}

// Collects the whole request, computes it, then answers block by block.
class ComputePeer : public StreamPeer {
 public:
  explicit ComputePeer(std::shared_ptr<const FakeService> service) : service_(std::move(service)) {}

  void OnMessage(const wire::Message& message, bool last, StreamReply& reply) override {
    absl::Status status = Take(message);
    if (status.ok() && !last) return;
    if (status.ok()) status = Answer(reply);
    reply.End(std::move(status));
  }

 private:
  absl::Status Take(const wire::Message& message) {
    LOSSD_ASSIGN_OR_RETURN(const wire::DecodedStreamPart part, wire::DecodeStreamRequest(message));
    if (const auto* header = std::get_if<wire::DecodedHeader>(&part)) {
      spec_ = header->request.spec;
      LOSSD_RETURN_IF_ERROR(Own(header->request.tensors, owned_));
      geometry_ = GeometryOf(spec_, owned_.views);
      if (geometry_.has_value()) return absl::OkStatus();
      return absl::InvalidArgumentError("the shapes do not fit together");
    }
    if (const auto* side = std::get_if<wire::DecodedSideData>(&part)) return TakeSide(*side);
    return TakeBlock(std::get<wire::DecodedBlock>(part));
  }

  absl::Status TakeSide(const wire::DecodedSideData& side) {
    Bytes* to = nullptr;
    for (const TensorRow<Bytes>& row : kTensorRows<Bytes>) {
      if (row.side_kind == side.kind && !to) to = TensorOf(owned_.bytes, row);
    }
    if (!to || side.offset_bytes < 0 ||
        side.offset_bytes + side.data.size() > static_cast<int64_t>(to->size())) {
      return absl::InvalidArgumentError("side data outside of its tensor");
    }
    side.data.CopyTo(0, side.data.size(), to->data() + side.offset_bytes);
    return absl::OkStatus();
  }

  absl::Status TakeBlock(const wire::DecodedBlock& block) {
    for (size_t i = 0; i < kTensorCount; ++i) {
      const TensorRow<ScatteredBytes>& row = kTensorRows<ScatteredBytes>[i];
      if (row.block_field == 0) continue;
      // Where a tensor comes whole, it is not part of blocks, and 0 bytes are what is wanted.
      Bytes* const to = TensorOf(owned_.bytes, kTensorRows<Bytes>[i]);
      const Runs runs =
          RunsOf(*geometry_, block.box, geometry_->classes, to ? geometry_->BlockSize(row) : 0);
      const ScatteredBytes& from = block.*row.in_block;
      if (from.size() != runs.total()) {
        return absl::InvalidArgumentError("a block that is not as large as its box");
      }
      if (to != nullptr) Scatter(from, runs, absl::MakeSpan(*to));
    }
    boxes_.push_back(block.box);
    return absl::OkStatus();
  }

  absl::Status Answer(StreamReply& reply) {
    Outputs<Bytes> outputs = MemoryFor(spec_.outputs, *geometry_);
    LOSSD_ASSIGN_OR_RETURN(const LossResult result,
                           service_->compute(spec_, owned_.views, Views(outputs)));
    for (const Box& box : boxes_) {
      LOSSD_ASSIGN_OR_RETURN(const wire::Message block,
                             Encoded(wire::EncodeBlockResult(box, {}, Fields(outputs, box))));
      reply.Send(block);
    }
    LOSSD_ASSIGN_OR_RETURN(const wire::Message summary, Encoded(wire::EncodeSummary(result)));
    reply.Send(summary);
    return absl::OkStatus();
  }

  wire::OutputFields<wire::Payload> Fields(const Outputs<Bytes>& outputs, const Box& box) const {
    const auto cut = [&](const OutputFacts& row,
                         const Bytes& whole) -> std::optional<wire::Payload> {
      if (whole.empty()) return std::nullopt;
      const Runs runs = RunsOf(*geometry_, box, geometry_->RowsOf(row), geometry_->OutputSize(row));
      Bytes packed;
      for (int64_t i = 0; i < runs.count; ++i) {
        const auto first = whole.begin() + runs.first + i * runs.stride;
        packed.insert(packed.end(), first, first + runs.bytes);
      }
      return Lasting(packed);
    };
    return MapOutputs<std::optional<wire::Payload>>(outputs, cut);
  }

  const std::shared_ptr<const FakeService> service_;
  LossSpec spec_;
  Owned owned_;
  std::optional<Geometry> geometry_;
  std::vector<Box> boxes_;
};

class FakeLocalService : public LocalService {
 public:
  explicit FakeLocalService(FakeService service)
      : service_(std::make_shared<const FakeService>(std::move(service))) {}

  absl::StatusOr<wire::Message> Unary(const std::string& method,
                                      const wire::Message& request) override {
    if (method == kComputeMethod) return ComputeUnary(*service_, request);
    if (method == kServerInfoMethod) return wire::Message(wire::EncodeServerInfo(service_->info));
    if (method == kHealthCheckMethod) {
      return wire::Message(wire::EncodeHealthResponse(service_->serving));
    }
    return absl::UnimplementedError(absl::StrCat("no method ", method));
  }

  std::unique_ptr<StreamPeer> Stream(const std::string&) override {
    return std::make_unique<ComputePeer>(service_);
  }

 private:
  const std::shared_ptr<const FakeService> service_;
};

// The service computes whole requests.
class FakeTransport : public LocalTransport {
 public:
  using LocalTransport::LocalTransport;
  bool TakesParts() const override { return false; }
};

}  // namespace

std::shared_ptr<Transport> MakeFakeTransport(FakeService service) {
  return std::make_shared<FakeTransport>(std::make_shared<FakeLocalService>(std::move(service)));
}

}  // namespace lossd
