#include "client/testing/fake_transport.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/block_io.h"
#include "client/geometry.h"
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

struct OwnedOutputs {
  Bytes gradient, position_losses, log_sum_exp, argmax_hits, probabilities;

  OwnedOutputs(const OutputSet& wanted, const Geometry& g)
      : gradient(wanted.gradient ? g.positions() * g.classes * g.gradient_size : 0),
        position_losses(wanted.position_losses ? g.positions() * 8 : 0),
        log_sum_exp(wanted.log_sum_exp ? g.positions() * 8 : 0),
        argmax_hits(wanted.argmax_hits ? g.positions() : 0),
        probabilities(wanted.probabilities ? g.positions() * g.classes * g.prediction_size : 0) {}

  LossOutputs Views() {
    return {absl::MakeSpan(gradient), absl::MakeSpan(position_losses), absl::MakeSpan(log_sum_exp),
            absl::MakeSpan(argmax_hits), absl::MakeSpan(probabilities)};
  }
};

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

absl::Status Own(const std::optional<wire::WireTensor>& from, std::optional<Bytes>& to,
                 std::optional<TensorView>& view) {
  if (!from.has_value()) return absl::OkStatus();
  return Own(*from, to.emplace(), view.emplace());
}

absl::Status Own(const LossTensors<wire::WireTensor>& from, Owned& to) {
  to.views.target_kind = from.target_kind;
  LOSSD_RETURN_IF_ERROR(Own(from.predictions, to.bytes.predictions, to.views.predictions));
  LOSSD_RETURN_IF_ERROR(Own(from.targets, to.bytes.targets, to.views.targets));
  LOSSD_RETURN_IF_ERROR(Own(from.class_weights, to.bytes.class_weights, to.views.class_weights));
  LOSSD_RETURN_IF_ERROR(
      Own(from.position_weights, to.bytes.position_weights, to.views.position_weights));
  return Own(from.upstream_gradient, to.bytes.upstream_gradient, to.views.upstream_gradient);
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
  OwnedOutputs outputs(request.spec.outputs, *geometry);
  LOSSD_ASSIGN_OR_RETURN(const LossResult result,
                         service.compute(request.spec, owned.views, outputs.Views()));
  wire::OutputFields<wire::OutgoingTensor> fields;
  const TensorDesc& predictions = request.tensors.predictions.desc;
  const TensorDesc& labels = request.tensors.targets.desc;
  const auto fill = [](std::optional<wire::OutgoingTensor>& field, bool wanted, DType dtype,
                       const TensorDesc& like, const Bytes& bytes) {
    if (wanted) field = {dtype, like.shape, like.layout, Lasting(bytes)};
  };
  const OutputSet& wanted = request.spec.outputs;
  fill(fields.gradient, wanted.gradient, request.spec.gradient_dtype.value_or(predictions.dtype),
       predictions, outputs.gradient);
  fill(fields.probabilities, wanted.probabilities, predictions.dtype, predictions,
       outputs.probabilities);
  fill(fields.position_losses, wanted.position_losses, DType::kF64, labels,
       outputs.position_losses);
  fill(fields.log_sum_exp, wanted.log_sum_exp, DType::kF64, labels, outputs.log_sum_exp);
  fill(fields.argmax_hits, wanted.argmax_hits, DType::kU8, labels, outputs.argmax_hits);
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
    Bytes* to = &owned_.bytes.targets;
    const auto choose = [&to](std::optional<Bytes>& bytes) { to = bytes ? &*bytes : nullptr; };
    if (side.kind == wire::SideKind::kClassWeights) choose(owned_.bytes.class_weights);
    if (side.kind == wire::SideKind::kPositionWeights) choose(owned_.bytes.position_weights);
    if (side.kind == wire::SideKind::kUpstreamGradient) choose(owned_.bytes.upstream_gradient);
    if (!to || side.offset_bytes < 0 ||
        side.offset_bytes + side.data.size() > static_cast<int64_t>(to->size())) {
      return absl::InvalidArgumentError("side data outside of its tensor");
    }
    side.data.CopyTo(0, side.data.size(), to->data() + side.offset_bytes);
    return absl::OkStatus();
  }

  absl::Status TakeBlock(const wire::DecodedBlock& block) {
    const auto take = [&](const ScatteredBytes& from, int64_t element_size, Bytes& to) {
      const Runs runs = RunsOf(*geometry_, block.box, geometry_->classes, element_size);
      if (from.size() != runs.total()) return false;
      Scatter(from, runs, absl::MakeSpan(to));
      return true;
    };
    if (!take(block.predictions, geometry_->prediction_size, owned_.bytes.predictions) ||
        !take(block.class_probabilities, geometry_->probability_size, owned_.bytes.targets)) {
      // Where targets come whole, they are not part of blocks, and 0 bytes are what is wanted.
      return absl::InvalidArgumentError("a block that is not as large as its box");
    }
    boxes_.push_back(block.box);
    return absl::OkStatus();
  }

  absl::Status Answer(StreamReply& reply) {
    OwnedOutputs outputs(spec_.outputs, *geometry_);
    LOSSD_ASSIGN_OR_RETURN(const LossResult result,
                           service_->compute(spec_, owned_.views, outputs.Views()));
    for (const Box& box : boxes_) {
      LOSSD_ASSIGN_OR_RETURN(const wire::Message block,
                             Encoded(wire::EncodeBlockResult(box, {}, Fields(outputs, box))));
      reply.Send(block);
    }
    LOSSD_ASSIGN_OR_RETURN(const wire::Message summary, Encoded(wire::EncodeSummary(result)));
    reply.Send(summary);
    return absl::OkStatus();
  }

  wire::OutputFields<wire::Payload> Fields(const OwnedOutputs& outputs, const Box& box) const {
    const auto cut = [&](const Bytes& whole, int64_t rows,
                         int64_t element_size) -> std::optional<wire::Payload> {
      if (whole.empty()) return std::nullopt;
      const Runs runs = RunsOf(*geometry_, box, rows, element_size);
      Bytes packed;
      for (int64_t i = 0; i < runs.count; ++i) {
        const auto first = whole.begin() + runs.first + i * runs.stride;
        packed.insert(packed.end(), first, first + runs.bytes);
      }
      return Lasting(packed);
    };
    return {
        .position_losses = cut(outputs.position_losses, 1, 8),
        .log_sum_exp = cut(outputs.log_sum_exp, 1, 8),
        .argmax_hits = cut(outputs.argmax_hits, 1, 1),
        .probabilities = cut(outputs.probabilities, geometry_->classes, geometry_->prediction_size),
        .gradient = cut(outputs.gradient, geometry_->classes, geometry_->gradient_size)};
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
