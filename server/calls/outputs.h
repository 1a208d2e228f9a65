#ifndef LOSSD_SERVER_CALLS_OUTPUTS_H_
#define LOSSD_SERVER_CALLS_OUTPUTS_H_

#include "absl/status/statusor.h"
#include "core/plan/loss_plan.h"
#include "lossd/loss_spec.h"
#include "protos/wire/response_codec.h"
#include "server/memory/buffer_pool.h"

namespace lossd {

// Memory from the pool for the wanted outputs of one box.
class OutputBuffers {
 public:
  static absl::StatusOr<OutputBuffers> Take(const LossPlan& plan, const Box& box, BufferPool& pool);

  // Where the box is to be computed.
  LossOutputs Spans() const;

  // The outputs as they are sent: as fields of a block's result, or as whole tensors. The memory
  // goes back to the pool when gRPC has let go of it. `plan` outlives the tensors.
  wire::OutputFields<wire::Payload> IntoPayloads() &&;
  wire::OutputFields<wire::OutgoingTensor> IntoTensors(const LossPlan& plan) &&;

 private:
  OutputSet wanted_;
  BufferPool::Buffer gradient_;
  BufferPool::Buffer position_losses_;
  BufferPool::Buffer log_sum_exp_;
  BufferPool::Buffer argmax_hits_;
  BufferPool::Buffer probabilities_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_OUTPUTS_H_
