#include "server/calls/methods.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/exec/loss_run.h"
#include "core/exec/working_memory.h"
#include "core/plan/loss_plan.h"
#include "lossd/status_macros.h"
#include "protos/wire/info_codec.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"
#include "server/admission/stream_cost.h"
#include "server/calls/answer.h"
#include "server/calls/outputs.h"

namespace lossd {
namespace {

// Bytes in one piece: where they are if they arrived so, else copied together. Side tensors are
// small beside the predictions, which are never gathered here.
class OnePiece {
 public:
  explicit OnePiece(const ScatteredBytes& bytes) {
    if (bytes.size() == 0) return;
    const std::byte* data = bytes.Contiguous(0, bytes.size());
    if (data == nullptr) {
      copy_ = std::make_unique_for_overwrite<std::byte[]>(bytes.size());
      bytes.CopyTo(0, bytes.size(), copy_.get());
      data = copy_.get();
    }
    span_ = {data, static_cast<size_t>(bytes.size())};
  }
  explicit OnePiece(const std::optional<wire::WireTensor>& tensor)
      : OnePiece(tensor ? tensor->data : ScatteredBytes()) {}

  ByteSpan span() const { return span_; }

 private:
  std::unique_ptr<std::byte[]> copy_;
  ByteSpan span_;
};

// What OnePiece copies of the side tensors.
int64_t CopiedBytes(const LossTensors<wire::WireTensor>& tensors) {
  int64_t bytes = 0;
  const auto add = [&](const wire::WireTensor& tensor) {
    if (tensor.data.pieces().size() > 1) bytes += tensor.data.size();
  };
  add(tensors.targets);
  if (tensors.class_weights) add(*tensors.class_weights);
  if (tensors.position_weights) add(*tensors.position_weights);
  if (tensors.upstream_gradient) add(*tensors.upstream_gradient);
  return bytes;
}

absl::StatusOr<grpc::ByteBuffer> Compute(const Environment& environment,
                                         const grpc::ByteBuffer& message, ByteBudget::Grant& grant,
                                         CallRecord& record, StopToken stop) {
  const auto length = static_cast<int64_t>(message.Length());
  if (length > environment.limits.max_unary_bytes) {
    return TooLargeForOneMessage(length, environment.limits);
  }
  LOSSD_ASSIGN_OR_RETURN(const wire::DecodedRequest request,
                         wire::DecodeComputeRequest(wire::Message(message)));
  record.Wants(request.spec.loss);
  LOSSD_ASSIGN_OR_RETURN(LossPlan plan, LossPlan::Make(request.spec, request.Descs()));
  // What came with the headers' grant is the message, and as much again.
  const int64_t beside = OutputBytes(plan) + CopiedBytes(request.tensors) +
                         WorkingBytes(plan, environment.executor->threads());
  if (beside > length) LOSSD_RETURN_IF_ERROR(grant.Extend(beside - length));
  const bool targets_come_whole = plan.targets_come_whole();
  const OnePiece targets(targets_come_whole ? request.tensors.targets.data : ScatteredBytes());
  const OnePiece class_weights(request.tensors.class_weights);
  const OnePiece position_weights(request.tensors.position_weights);
  const OnePiece upstream_gradient(request.tensors.upstream_gradient);
  const SideBytes side = {.targets = targets.span(),
                          .class_weights = class_weights.span(),
                          .position_weights = position_weights.span(),
                          .upstream_gradient = upstream_gradient.span()};
  Executor& executor = *environment.executor;
  LOSSD_ASSIGN_OR_RETURN(const LossRun run,
                         LossRun::Prepare(std::move(plan), side, executor, stop));

  const Box whole = run.plan().whole();
  OutputBuffers outputs;
  LOSSD_RETURN_IF_ERROR(outputs.Take(run.plan(), whole, *environment.pool));
  PartialSums sums;
  if (run.plan().positions() > 0) {
    BoxInputs inputs;
    inputs.predictions = request.tensors.predictions.data;
    if (!targets_come_whole) inputs.class_probabilities = request.tensors.targets.data;
    LOSSD_ASSIGN_OR_RETURN(sums, run.RunBox(whole, inputs, outputs.Spans(), executor, stop));
  }
  return wire::EncodeComputeResponse(run.Finish(sums), std::move(outputs).IntoTensors(run.plan()));
}

// Positions of a request that may be computed where it was received. Each takes up to 3 us,
// whatever it brings; a long row takes that by its bytes, which are few enough here.
constexpr int64_t kQuickPositions = 4096;

// What is refused is refused quickly.
bool IsQuickCompute(const grpc::ByteBuffer& message) {
  const auto request = wire::DecodeComputeRequest(wire::Message(message));
  if (!request.ok()) return true;
  const auto plan = LossPlan::Make(request->spec, request->Descs());
  return !plan.ok() || plan->positions() <= kQuickPositions;
}

bool IsQuick(const grpc::ByteBuffer& message) { return true; }

absl::StatusOr<grpc::ByteBuffer> GetServerInfo(const Environment& environment,
                                               const grpc::ByteBuffer& message,
                                               ByteBudget::Grant& grant, CallRecord& record,
                                               StopToken stop) {
  return wire::EncodeServerInfo(environment.info);
}

}  // namespace

const UnaryMethod kUnaryCompute = {Method::kCompute, &Compute, &IsQuickCompute};
const UnaryMethod kUnaryServerInfo = {Method::kGetServerInfo, &GetServerInfo, &IsQuick};

}  // namespace lossd
