#include "server/calls/methods.h"

#include <memory>
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
#include "server/calls/call_regions.h"
#include "server/calls/outputs.h"

namespace lossd {
namespace {

// Bytes in one piece: where they are if they arrived so, else copied together; copied also out of
// shared memory, where they may change behind the checks. Side tensors are small beside the
// predictions, which are never gathered here.
class OnePiece {
 public:
  OnePiece() = default;
  explicit OnePiece(const wire::WireTensor& tensor) {
    const ScatteredBytes& bytes = tensor.data;
    if (bytes.size() == 0) return;
    const std::byte* data = bytes.Contiguous(0, bytes.size());
    if (IsCopied(tensor)) {
      copy_ = std::make_unique_for_overwrite<std::byte[]>(bytes.size());
      bytes.CopyTo(0, bytes.size(), copy_.get());
      data = copy_.get();
    }
    span_ = {data, static_cast<size_t>(bytes.size())};
  }

  static bool IsCopied(const wire::WireTensor& tensor) {
    return tensor.region || tensor.data.pieces().size() > 1;
  }

  ByteSpan span() const { return span_; }

 private:
  std::unique_ptr<std::byte[]> copy_;
  ByteSpan span_;
};

// What OnePiece copies of the side tensors.
int64_t CopiedBytes(const LossPlan& plan, const LossTensors<wire::WireTensor>& tensors) {
  int64_t bytes = 0;
  ForEachTensor(tensors, [&](const TensorFacts& row, const wire::WireTensor& tensor) {
    if (!plan.IsInBlocks(row) && OnePiece::IsCopied(tensor)) bytes += tensor.data.size();
  });
  return bytes;
}

// The tensors of a request as a LossRun takes them: side tensors in one piece each, the others
// where they arrived.
struct Inputs {
  SideTensors<OnePiece> pieces;
  SideBytes side;  // of `pieces`
  BoxInputs box;
};

void Distribute(const LossPlan& plan, const LossTensors<wire::WireTensor>& tensors,
                Inputs& inputs) {
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<wire::WireTensor>& row = kTensorRows<wire::WireTensor>[i];
    const wire::WireTensor* const tensor = TensorOf(tensors, row);
    if (tensor == nullptr) continue;
    if (plan.IsInBlocks(row)) {
      inputs.box.*kTensorRows<ScatteredBytes>[i].in_block = tensor->data;
      continue;
    }
    OnePiece& piece = inputs.pieces.*kTensorRows<OnePiece>[i].whole;
    piece = OnePiece(*tensor);
    inputs.side.*kTensorRows<ByteSpan>[i].whole = piece.span();
  }
}

absl::StatusOr<grpc::ByteBuffer> Compute(const Environment& environment,
                                         const grpc::ByteBuffer& message, ByteBudget::Grant& grant,
                                         CallRecord& record, StopToken stop) {
  const auto length = static_cast<int64_t>(message.Length());
  if (length > environment.limits.max_unary_bytes) {
    return TooLargeForOneMessage(length, environment.limits);
  }
  LOSSD_ASSIGN_OR_RETURN(wire::DecodedRequest request,
                         wire::DecodeComputeRequest(wire::Message(message)));
  record.Wants(request.spec.loss);
  CallRegions regions;
  LOSSD_RETURN_IF_ERROR(regions.Find(*environment.regions, request));
  LOSSD_ASSIGN_OR_RETURN(LossPlan plan, LossPlan::Make(request.spec, request.Descs()));
  LOSSD_RETURN_IF_ERROR(regions.FindOutputs(*environment.regions, plan, request.output_regions));
  // What came with the headers' grant is the message, and as much again.
  const int64_t beside = OutputBytes(plan) - regions.output_bytes() +
                         CopiedBytes(plan, request.tensors) +
                         WorkingBytes(plan, environment.executor->threads());
  if (beside > length) LOSSD_RETURN_IF_ERROR(grant.Extend(beside - length));
  Inputs inputs;
  Distribute(plan, request.tensors, inputs);
  Executor& executor = *environment.executor;
  LOSSD_ASSIGN_OR_RETURN(const LossRun run,
                         LossRun::Prepare(std::move(plan), inputs.side, executor, stop));

  const Box whole = run.plan().whole();
  OutputBuffers outputs;
  LOSSD_RETURN_IF_ERROR(outputs.Take(run.plan(), whole, *environment.pool, regions.outputs()));
  PartialSums sums;
  if (run.plan().positions() > 0) {
    LOSSD_ASSIGN_OR_RETURN(sums, run.RunBox(whole, inputs.box, outputs.Spans(), executor, stop));
  }
  return wire::EncodeComputeResponse(
      run.Finish(sums), std::move(outputs).IntoTensors(run.plan(), request.output_regions));
}

int64_t BytesInRegions(const grpc::ByteBuffer& message) {
  const auto request = wire::DecodeComputeRequest(wire::Message(message));
  return request.ok() ? SaidRegionBytes(*request) : 0;
}

int64_t NothingBeside(const grpc::ByteBuffer& message) { return 0; }

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

const UnaryMethod kUnaryCompute = {Method::kCompute, &Compute, &BytesInRegions, &IsQuickCompute};
const UnaryMethod kUnaryServerInfo = {Method::kGetServerInfo, &GetServerInfo, &NothingBeside,
                                      &IsQuick};

}  // namespace lossd
