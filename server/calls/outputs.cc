#include "server/calls/outputs.h"

#include <optional>
#include <utility>
#include <vector>

#include "lossd/status_macros.h"

namespace lossd {
namespace {

wire::Payload IntoPayload(BufferPool::Buffer buffer) {
  const MutableByteSpan bytes = buffer.bytes();
  if (bytes.empty()) return {};
  return {bytes, std::move(buffer).IntoRelease()};
}

}  // namespace

absl::StatusOr<OutputBuffers> OutputBuffers::Take(const LossPlan& plan, const Box& box,
                                                  BufferPool& pool) {
  const LossPlan::BoxBytes bytes = plan.BytesOf(box);
  OutputBuffers outputs;
  outputs.wanted_ = plan.outputs();
  LOSSD_ASSIGN_OR_RETURN(outputs.gradient_, pool.Take(bytes.gradient));
  LOSSD_ASSIGN_OR_RETURN(outputs.position_losses_, pool.Take(bytes.position_losses));
  LOSSD_ASSIGN_OR_RETURN(outputs.log_sum_exp_, pool.Take(bytes.log_sum_exp));
  LOSSD_ASSIGN_OR_RETURN(outputs.argmax_hits_, pool.Take(bytes.argmax_hits));
  LOSSD_ASSIGN_OR_RETURN(outputs.probabilities_, pool.Take(bytes.probabilities));
  return outputs;
}

LossOutputs OutputBuffers::Spans() const {
  return {.gradient = gradient_.bytes(),
          .position_losses = position_losses_.bytes(),
          .log_sum_exp = log_sum_exp_.bytes(),
          .argmax_hits = argmax_hits_.bytes(),
          .probabilities = probabilities_.bytes()};
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
