#include "server/calls/outputs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lossd/status_macros.h"

namespace lossd {

absl::Status OutputBuffers::Take(int64_t size, BufferPool& pool, Output& output) {
  const auto bytes = static_cast<size_t>(size);
  if (bytes <= room_.size() - room_used_) {
    output.bytes = {room_.data() + room_used_, bytes};
    const size_t end = room_used_ + bytes + BufferPool::kAlignment - 1;
    room_used_ = std::min(end - end % BufferPool::kAlignment, room_.size());
    return absl::OkStatus();
  }
  LOSSD_ASSIGN_OR_RETURN(output.buffer, pool.Take(size));
  output.bytes = output.buffer.bytes();
  return absl::OkStatus();
}

absl::Status OutputBuffers::Take(const LossPlan& plan, const Box& box, BufferPool& pool,
                                 const LossOutputs& placed) {
  const LossPlan::BoxBytes bytes = plan.BytesOf(box);
  wanted_ = plan.outputs();
  for (size_t i = 0; i < kOutputCount; ++i) {
    const int64_t size = bytes.*kOutputRows<int64_t>[i].member;
    Output& output = outputs_.*kOutputRows<Output>[i].member;
    output.bytes = placed.*kOutputRows<MutableByteSpan>[i].member;
    if (output.bytes.empty()) LOSSD_RETURN_IF_ERROR(Take(size, pool, output));
  }
  return absl::OkStatus();
}

LossOutputs OutputBuffers::Spans() const {
  return MapOutputs<MutableByteSpan>(
      outputs_, [](const OutputFacts&, const Output& output) { return output.bytes; });
}

wire::Payload OutputBuffers::IntoPayload(Output output) {
  if (output.buffer.bytes().empty()) return {output.bytes, nullptr};
  return {output.bytes, std::move(output.buffer).IntoRelease()};
}

wire::OutputFields<wire::Payload> OutputBuffers::IntoPayloads() && {
  wire::OutputFields<wire::Payload> fields;
  for (size_t i = 0; i < kOutputCount; ++i) {
    if (!(wanted_.*kOutputRows<bool>[i].member)) continue;
    Output& output = outputs_.*kOutputRows<Output>[i].member;
    fields.*kOutputRows<std::optional<wire::Payload>>[i].member = IntoPayload(std::move(output));
  }
  return fields;
}

wire::OutputFields<wire::OutgoingTensor> OutputBuffers::IntoTensors(
    const LossPlan& plan, const wire::OutputRegions& regions) && {
  const TensorDesc& predictions = plan.tensors().predictions;
  wire::OutputFields<wire::OutgoingTensor> tensors;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<Output>& row = kOutputRows<Output>[i];
    if (!(wanted_.*kOutputRows<bool>[i].member)) continue;
    const absl::Span<const int64_t> shape =
        row.per == Per::kElement ? predictions.shape : plan.label_shape();
    wire::OutgoingTensor& tensor =
        (tensors.*kOutputRows<std::optional<wire::OutgoingTensor>>[i].member).emplace();
    tensor = {plan.output_dtypes().Of(row.dtype), shape, predictions.layout};
    tensor.region = regions.*kOutputRows<std::optional<wire::Region>>[i].member;
    if (!tensor.region) tensor.data = IntoPayload(std::move(outputs_.*row.member));
  }
  return tensors;
}

}  // namespace lossd
