// The client against a server that answers anything: a typed error or an answer that was given,
// never a byte outside the caller's buffer.
//   input: how the client is set up, then what the server does at each message

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/testing/local_transport.h"
#include "lossd/client.h"
#include "protos/wire/info_codec.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {
namespace {

constexpr int64_t kOuter = 5, kClasses = 3, kInner = 4;
constexpr int64_t kPlaneBytes = kClasses * kInner * 4;
constexpr auto kUnwritten = std::byte{0xee};  // no answer is made of it
constexpr int kMaxAttempts = 3;

wire::Message FromBytes(std::string bytes) {
  const auto owned = std::make_shared<std::vector<char>>(bytes.begin(), bytes.end());
  const ByteSpan span(reinterpret_cast<const std::byte*>(owned->data()), owned->size());
  return {ScatteredBytes(span), owned};
}

wire::Message FromBuffer(const absl::StatusOr<grpc::ByteBuffer>& buffer) {
  return wire::Message(*buffer);
}

std::string Joined(const wire::Message& message) {
  std::string bytes(message.bytes().size(), '\0');
  message.bytes().CopyTo(0, message.bytes().size(), reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

// A server whose gradients are made of one byte each, by which they are known again.
class Hostile : public LocalService {
 public:
  explicit Hostile(Input& input) : input_(input) {}

  absl::StatusOr<wire::Message> Unary(const std::string& method,
                                      const wire::Message& request) override {
    ++calls_;
    if (input_.Byte() % 4 == 1) return AnyError();
    if (method == kServerInfoMethod) return Meddled(FromBuffer(wire::EncodeServerInfo({})));
    if (method == kHealthCheckMethod) return Meddled(FromBuffer(wire::EncodeHealthResponse(true)));
    wire::OutputFields<wire::OutgoingTensor> outputs;
    const int64_t bytes = SizeNear(kOuter * kPlaneBytes);
    const int64_t shape[] = {bytes / 4};
    outputs.gradient = wire::OutgoingTensor{.shape = shape, .data = Gradient(bytes)};
    return Meddled(FromBuffer(wire::EncodeComputeResponse(AnyResult(), outputs)));
  }

  std::unique_ptr<StreamPeer> Stream(const std::string& method) override;

  wire::Message Block(const Box& box) {
    const auto planes = static_cast<uint64_t>(box.outer_count);
    wire::OutputFields<wire::Payload> outputs;
    outputs.gradient = Gradient(SizeNear(static_cast<int64_t>(planes % 8) * kPlaneBytes));
    return Meddled(FromBuffer(wire::EncodeBlockResult(box, AnySums(), outputs)));
  }
  wire::Message Summary() { return Meddled(FromBuffer(wire::EncodeSummary(AnyResult()))); }
  wire::Message Raw() { return FromBytes(input_.Bytes(input_.Byte())); }

  absl::Status AnyError() {
    const int code = input_.Byte() % 17;
    if (code == 0) return absl::UnavailableError("gone");
    absl::Status error(static_cast<absl::StatusCode>(code), input_.Bytes(input_.Byte() % 16));
    if (input_.Flag()) {
      const absl::string_view key(kPushbackPayload.data(), kPushbackPayload.size());
      error.SetPayload(key, absl::Cord(input_.Bytes(input_.Byte() % 12)));
    }
    return error;
  }

  Input& input() { return input_; }
  int calls() const { return calls_; }
  void CountCall() { ++calls_; }
  bool Gave(std::byte mark) const { return given_.count(mark) > 0; }

 private:
  // The message, or one with a few of its bytes changed, or cut short.
  wire::Message Meddled(wire::Message message) {
    const uint8_t how = input_.Byte();
    if (how % 8 < 6) return message;
    std::string bytes = Joined(message);
    if (bytes.empty()) return message;
    if (how % 8 == 6) {
      bytes[input_.Number(2) % bytes.size()] = static_cast<char>(input_.Byte());
    } else {
      bytes.resize(input_.Number(2) % bytes.size());
    }
    meddled_ = true;
    return FromBytes(bytes);
  }

 public:
  bool meddled() const { return meddled_; }

 private:
  int64_t SizeNear(int64_t bytes) {
    const int8_t more = input_.Byte() % 8 == 7 ? static_cast<int8_t>(input_.Byte()) : 0;
    return std::max<int64_t>(0, bytes + more);
  }

  wire::Payload Gradient(int64_t bytes) {
    const auto mark = static_cast<std::byte>(++mark_ % 0xee);
    given_.insert(mark);
    const auto owned = std::make_shared<std::vector<std::byte>>(bytes, mark);
    return {*owned, [owned] {}};
  }

  PartialSums AnySums() {
    PartialSums sums;
    if (input_.Byte() % 8 != 7) return sums;
    sums.loss_sum.Add(1.5);
    sums.position_count = input_.Integer();
    sums.valid_count = input_.Integer();
    sums.correct_count = input_.Integer();
    return sums;
  }

  LossResult AnyResult() {
    LossResult result;
    result.exact = AnySums();
    result.denominator = input_.Byte();
    if (input_.Flag()) result.correct_count = input_.Integer();
    return result;
  }

  Input& input_;
  int calls_ = 0;
  int mark_ = 0;
  bool meddled_ = false;
  std::set<std::byte> given_;
};

class Peer : public StreamPeer {
 public:
  explicit Peer(Hostile& server) : server_(server) {}

  void OnMessage(const wire::Message& message, bool last, StreamReply& reply) override {
    if (over_) return;
    const auto part = wire::DecodeStreamRequest(message);
    Require(part.ok(), absl::StrCat("the client sent ", part.status().ToString()));
    const auto* block = std::get_if<wire::DecodedBlock>(&*part);
    if (block != nullptr) box_ = block->box;
    for (int64_t n = 1 + server_.input().Byte() % 3; n > 0 && !over_; --n)
      Act(block != nullptr, reply);
    if (last && !over_ && server_.input().Byte() % 8 != 7) {
      reply.Send(server_.Summary());
      if (server_.input().Byte() % 8 != 7) End(absl::OkStatus(), reply);
    }
  }

 private:
  void Act(bool after_block, StreamReply& reply) {
    Input& input = server_.input();
    switch (input.Byte() % 16) {
      case 1:
        return reply.Send(server_.Raw());
      case 2:
        return reply.Send(
            server_.Block({input.Integer(), input.Integer(), input.Integer(), input.Integer()}));
      case 3:
        return reply.Send(server_.Summary());
      case 4:
        return End(input.Flag() ? server_.AnyError() : absl::OkStatus(), reply);
      case 5:
        return reply.Send(server_.Block(box_));
      case 6:
        return;  // nothing
      default:
        if (!after_block || std::exchange(answered_, box_) == box_) return;
        return reply.Send(server_.Block(box_));
    }
  }
  void End(const absl::Status& status, StreamReply& reply) {
    over_ = true;
    reply.End(status);
  }

  Hostile& server_;
  Box box_;
  Box answered_;
  bool over_ = false;
};

std::unique_ptr<StreamPeer> Hostile::Stream(const std::string& method) {
  CountCall();
  return std::make_unique<Peer>(*this);
}

// The gradient of each plane came in one piece from the server.
void CheckGradient(ByteSpan gradient, int64_t unit, const Hostile& server) {
  for (size_t at = 0; at < gradient.size(); at += unit) {
    const ByteSpan plane = gradient.subspan(at, unit);
    Require(plane[0] != kUnwritten, "an OK answer left a part of the gradient unwritten");
    if (server.meddled()) continue;  // the bytes of a gradient may be those that were changed
    Require(server.Gave(plane[0]) && std::count(plane.begin(), plane.end(), plane[0]) == unit,
            "a part of the gradient is no part of any answer");
  }
}

}  // namespace

void TestOne(Input input) {
  const auto server = std::make_shared<Hostile>(input);
  const int64_t planes = 1 + input.Below(kOuter);
  Client client(std::make_shared<LocalTransport>(server),
                {.retry = {.max_attempts = kMaxAttempts}, .block_bytes = planes * kPlaneBytes});
  const uint8_t what = input.Byte() % 8;
  if (what == 6) {
    client.GetServerInfo().IgnoreError();
    return;
  }
  if (what == 7) {
    client.CheckHealth().IgnoreError();
    return;
  }
  const std::vector<float> predictions(kOuter * kClasses * kInner, 1.0f);
  const std::vector<int32_t> labels(kOuter * kInner, 1);
  LossSpec spec;
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {kOuter, kClasses, kInner});
  inputs.targets = TensorView::Of<int32_t>(labels, {kOuter, kInner});
  if (what == 5) {  // a loss over elements, whose targets are in the blocks
    spec.loss = SquaredErrorLoss{};
    inputs.target_kind = TargetKind::kTargetValues;
    inputs.targets = inputs.predictions;
  }
  // On its own in memory, so that a sanitizer sees a write past its end.
  const auto gradient = std::make_unique<std::byte[]>(kOuter * kPlaneBytes);
  const MutableByteSpan span(gradient.get(), kOuter * kPlaneBytes);
  std::fill(span.begin(), span.end(), kUnwritten);
  const bool unary = what == 0;
  const auto result =
      client.Compute(spec, inputs, {.gradient = span},
                     {.mode = unary ? TransferMode::kUnary : TransferMode::kStream});
  Require(server->calls() <= kMaxAttempts, "more attempts than allowed");
  if (result.ok()) CheckGradient(span, unary ? kOuter * kPlaneBytes : kPlaneBytes, *server);
}

}  // namespace lossd::fuzz
