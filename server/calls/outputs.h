#ifndef LOSSD_SERVER_CALLS_OUTPUTS_H_
#define LOSSD_SERVER_CALLS_OUTPUTS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "core/plan/loss_plan.h"
#include "lossd/loss_spec.h"
#include "protos/wire/response_codec.h"
#include "protos/wire/writer.h"
#include "server/memory/buffer_pool.h"

namespace lossd {

// Memory for the wanted outputs of one box: from the pool, or, for outputs so small that a message
// copies them, within this object.
class OutputBuffers {
 public:
  OutputBuffers() = default;
  OutputBuffers(const OutputBuffers&) = delete;
  OutputBuffers& operator=(const OutputBuffers&) = delete;

  // Once, before all else. An output that `placed` has memory for goes there.
  absl::Status Take(const LossPlan& plan, const Box& box, BufferPool& pool,
                    const LossOutputs& placed = {});

  // Where the box is to be computed.
  LossOutputs Spans() const;

  // The outputs as they are sent: as fields of a block's result, or as whole tensors. The memory
  // goes back to the pool when gRPC has released it. This object and `plan` outlive them until they
  // are in a message.
  wire::OutputFields<wire::Payload> IntoPayloads() &&;
  // Of an output that has one of `regions` the tensor says that alone.
  wire::OutputFields<wire::OutgoingTensor> IntoTensors(const LossPlan& plan,
                                                       const wire::OutputRegions& regions = {}) &&;

 private:
  struct Output {
    MutableByteSpan bytes;
    BufferPool::Buffer buffer;  // empty where they lie in room_
  };

  absl::Status Take(int64_t size, BufferPool& pool, Output& output);
  static wire::Payload IntoPayload(Output output);

  OutputSet wanted_;
  Outputs<Output> outputs_;
  size_t room_used_ = 0;
  alignas(BufferPool::kAlignment) std::array<std::byte, wire::kCopiedBytes> room_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_OUTPUTS_H_
