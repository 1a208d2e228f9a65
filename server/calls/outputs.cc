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

absl::Status OutputBuffers::Take(const LossPlan& plan, const Box& box, BufferPool& pool) {
  const LossPlan::BoxBytes bytes = plan.BytesOf(box);
  wanted_ = plan.outputs();
  LOSSD_RETURN_IF_ERROR(Take(bytes.gradient, pool, gradient_));
  LOSSD_RETURN_IF_ERROR(Take(bytes.position_losses, pool, position_losses_));
  LOSSD_RETURN_IF_ERROR(Take(bytes.log_sum_exp, pool, log_sum_exp_));
  LOSSD_RETURN_IF_ERROR(Take(bytes.argmax_hits, pool, argmax_hits_));
  return Take(bytes.probabilities, pool, probabilities_);
}

LossOutputs OutputBuffers::Spans() const {
  return {.gradient = gradient_.bytes,
          .position_losses = position_losses_.bytes,
          .log_sum_exp = log_sum_exp_.bytes,
          .argmax_hits = argmax_hits_.bytes,
          .probabilities = probabilities_.bytes};
}

wire::Payload OutputBuffers::IntoPayload(Output output) {
  if (output.buffer.bytes().empty()) return {output.bytes, nullptr};
  return {output.bytes, std::move(output.buffer).IntoRelease()};
}

wire::OutputFields<wire::Payload> OutputBuffers::IntoPayloads() && {
  wire::OutputFields<wire::Payload> fields;
  if (wanted_.gradient) fields.gradient = IntoPayload(std::move(gradient_));
  if (wanted_.position_losses) fields.position_losses = IntoPayload(std::move(position_losses_));
  if (wanted_.log_sum_exp) fields.log_sum_exp = IntoPayload(std::move(log_sum_exp_));
  if (wanted_.argmax_hits) fields.argmax_hits = IntoPayload(std::move(argmax_hits_));
  if (wanted_.probabilities) fields.probabilities = IntoPayload(std::move(probabilities_));
  return fields;
}

wire::OutputFields<wire::OutgoingTensor> OutputBuffers::IntoTensors(const LossPlan& plan) && {
  wire::OutputFields<wire::Payload> fields = std::move(*this).IntoPayloads();
  const TensorDesc& predictions = plan.tensors().predictions;
  const auto tensor = [&](std::optional<wire::Payload>& data, DType dtype,
                          absl::Span<const int64_t> shape) -> std::optional<wire::OutgoingTensor> {
    if (!data) return std::nullopt;
    return wire::OutgoingTensor{dtype, shape, predictions.layout, std::move(*data)};
  };
  const absl::Span<const int64_t> label_shape = plan.label_shape();
  wire::OutputFields<wire::OutgoingTensor> tensors;
  tensors.position_losses = tensor(fields.position_losses, DType::kF64, label_shape);
  tensors.log_sum_exp = tensor(fields.log_sum_exp, DType::kF64, label_shape);
  tensors.argmax_hits = tensor(fields.argmax_hits, DType::kU8, label_shape);
  tensors.probabilities = tensor(fields.probabilities, predictions.dtype, predictions.shape);
  tensors.gradient = tensor(fields.gradient, plan.gradient_dtype(), predictions.shape);
  return tensors;
}

}  // namespace lossd
