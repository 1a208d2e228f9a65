#include "client/call/region_call.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "client/call/answer_size.h"
#include "client/call/block_io.h"
#include "client/transport/transport.h"
#include "lossd/client.h"

namespace lossd {
namespace {

// What may travel in the messages of a call whose predictions do not: above it, blocks of a stream
// are the better way.
constexpr int64_t kMostBeside = 16 << 20;

bool Overlap(ByteSpan a, ByteSpan b) {
  const std::less<> before;
  return before(a.data(), b.data() + b.size()) && before(b.data(), a.data() + a.size());
}

// Whether the server turned a call away before it wrote anything.
bool WasPutOff(const absl::Status& status) {
  const std::string reason = LossReason(status);
  return !reason.empty() && reason != "OOM";
}

}  // namespace

std::optional<RegionCall> RegionCall::Find(const ComputeJob& job, SharedRegions& regions) {
  RegionCall call(job, regions);
  call.FindInputs();
  if (!call.inputs_.predictions) return std::nullopt;
  call.FindOutputs();
  if (call.beside_bytes_ > kMostBeside) return std::nullopt;
  return call;
}

std::optional<wire::Region> RegionCall::Use(ByteSpan bytes) {
  std::optional<wire::Region> region = regions_->RegionOf(bytes);
  if (!region) {
    beside_bytes_ += static_cast<int64_t>(bytes.size());
  } else if (std::find(tokens_.begin(), tokens_.end(), region->token) == tokens_.end()) {
    tokens_.push_back(region->token);
  }
  return region;
}

void RegionCall::FindInputs() {
  using Regions = std::optional<wire::Region>;
  inputs_ = MapTensors<Regions>(job_->inputs,
                                [this](const TensorFacts& row, const TensorView& view) -> Regions {
                                  if (wire::MayLieInRegion(row)) return Use(view.bytes);
                                  beside_bytes_ += static_cast<int64_t>(view.bytes.size());
                                  return std::nullopt;
                                });
}

void RegionCall::FindOutputs() {
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[i];
    const MutableByteSpan buffer = job_->into.*row.member;
    if (buffer.empty()) continue;
    if (!wire::MayGoToRegion(row)) {
      beside_bytes_ += static_cast<int64_t>(buffer.size());
    } else {
      outputs_.*kOutputRows<std::optional<wire::Region>>[i].member = Use(buffer);
    }
  }
}

absl::StatusOr<grpc::ByteBuffer> RegionCall::Request() const {
  LossTensors<wire::OutgoingTensor> tensors;
  tensors.target_kind = job_->inputs.target_kind;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorView* const view = TensorOf(job_->inputs, kTensorRows<TensorView>[i]);
    if (view == nullptr) continue;
    wire::OutgoingTensor& tensor = AddTensor(kTensorRows<wire::OutgoingTensor>[i], tensors);
    tensor = {view->desc.dtype, view->desc.shape, view->desc.layout};
    tensor.region = *TensorOf(inputs_, kTensorRows<std::optional<wire::Region>>[i]);
    if (!tensor.region) tensor.data = job_->loans.Lend(view->bytes);
  }
  return wire::EncodeComputeRequest(job_->spec, std::move(tensors), outputs_);
}

absl::Status RegionCall::Place(const wire::DecodedResponse& response) const {
  LossOutputs into = job_->into;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const auto& row = kOutputRows<std::optional<wire::WireTensor>>[i];
    const auto& tensor = response.outputs.*row.member;
    const auto& region = outputs_.*kOutputRows<std::optional<wire::Region>>[i].member;
    if (tensor && tensor->region != region) {
      return absl::InternalError(
          absl::StrCat("answer: ", std::string(row.name), " is not where it was wanted"));
    }
    if (tensor && region) into.*kOutputRows<MutableByteSpan>[i].member = {};
  }
  return PlaceWhole(response.outputs, into);
}

void RegionCall::Forget() const {
  for (const wire::Region::Token& token : tokens_) regions_->Forget(token);
}

absl::Status RegionCall::AfterFailure(absl::Status status) const {
  const bool refused = absl::IsInvalidArgument(status) || WasPutOff(status);
  if (!refused) {
    for (const wire::Region::Token& token : tokens_) regions_->WaitUntilQuiet(token);
  }
  const auto payload = [&status](std::string_view key) {
    return status.GetPayload({key.data(), key.size()}).has_value();
  };
  const bool in_place =
      outputs_.gradient && Overlap(job_->into.gradient, job_->inputs.predictions.bytes);
  if (in_place && !refused && !payload(kUnsentPayload)) {
    status.SetPayload({kPushbackPayload.data(), kPushbackPayload.size()}, absl::Cord("-1"));
  }
  return status;
}

}  // namespace lossd
