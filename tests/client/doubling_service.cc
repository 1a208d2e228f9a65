#include "tests/client/doubling_service.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"

namespace lossd {
namespace {

std::vector<float> Floats(const ScatteredBytes& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  bytes.CopyTo(0, bytes.size(), reinterpret_cast<std::byte*>(values.data()));
  return values;
}

// Doubles the values and adds them up.
wire::Payload Doubled(std::vector<float> values, PartialSums& sums) {
  for (float& value : values) {
    sums.loss_sum.Add(value);
    value *= 2;
  }
  const auto owned = std::make_shared<std::vector<float>>(std::move(values));
  return {ByteSpan(reinterpret_cast<const std::byte*>(owned->data()), owned->size() * 4),
          [owned] {}};
}

LossResult ResultOf(const PartialSums& sums, int64_t denominator) {
  LossResult result;
  result.loss_sum = sums.loss_sum.Round();
  result.denominator = static_cast<double>(denominator);
  result.loss = result.loss_sum / result.denominator;
  result.position_count = sums.position_count;
  result.exact = sums;
  return result;
}

class DoublingPeer : public StreamPeer {
 public:
  DoublingPeer(Script script, std::shared_ptr<DoublingService::Record> record)
      : script_(std::move(script)), record_(std::move(record)) {}

  void OnMessage(const wire::Message& message, bool last, StreamReply& reply) override {
    if (over_) return;
    Take(*wire::DecodeStreamRequest(message), reply);
    if (script_.failure.ok() || script_.fail_before_summary) {
      if (last) End(reply);
    } else if (answers_.size() >= static_cast<size_t>(script_.blocks_before_failure)) {
      answers_.resize(script_.blocks_before_failure);
      SendAll(reply);
      over_ = true;
      reply.End(script_.failure);
    }
  }

 private:
  void Take(const wire::DecodedStreamPart& part, StreamReply& reply) {
    if (const auto* header = std::get_if<wire::DecodedHeader>(&part)) {
      record_->spec = header->request.spec;
      record_->header_boxes = header->boxes;
      record_->parts.emplace_back("header");
      for (const wire::Message& message : script_.at_header) reply.Send(message);
      denominator_ = ElementCount(header->request.tensors.predictions.desc.shape).value_or(0);
    } else if (const auto* side = std::get_if<wire::DecodedSideData>(&part)) {
      record_->parts.push_back(absl::StrCat("side ", static_cast<int>(side->kind), " @",
                                            side->offset_bytes, " +", side->data.size()));
    } else {
      const auto& block = std::get<wire::DecodedBlock>(part);
      record_->parts.emplace_back("block");
      record_->blocks.push_back(block.box);
      PartialSums sums;
      wire::OutputFields<wire::Payload> outputs;
      outputs.gradient = Doubled(Floats(block.predictions), sums);
      sums.position_count = block.box.outer_count * block.box.inner_count;
      if (!record_->spec.outputs.gradient) outputs.gradient.reset();
      answers_.push_back(wire::Message(*wire::EncodeBlockResult(block.box, sums, outputs)));
      sums_.Merge(sums);
    }
  }

  void SendAll(StreamReply& reply) {
    for (const wire::Message& answer : answers_) reply.Send(answer);
  }

  void End(StreamReply& reply) {
    over_ = true;
    if (!script_.fail_before_summary && !script_.ends_without_summary) {
      answers_.push_back(wire::Message(*wire::EncodeSummary(ResultOf(sums_, denominator_))));
    }
    if (script_.meddle) script_.meddle(answers_);
    SendAll(reply);
    if (!script_.never_ends) reply.End(script_.failure);
  }

  const Script script_;
  const std::shared_ptr<DoublingService::Record> record_;
  std::vector<wire::Message> answers_;
  PartialSums sums_;
  int64_t denominator_ = 0;
  bool over_ = false;
};

}  // namespace

std::shared_ptr<DoublingService::Record> DoublingService::NewRecord(const std::string& method) {
  records_.push_back(std::make_shared<Record>());
  records_.back()->method = method;
  if (transport_) records_.back()->time = transport_->Now();
  return records_.back();
}

const Script& DoublingService::NextScript() {
  return scripts_[std::min(records_.size(), scripts_.size()) - 1];
}

absl::StatusOr<wire::Message> DoublingService::Unary(const std::string& method,
                                                     const wire::Message& request) {
  const std::shared_ptr<Record> record = NewRecord(method);
  const Script& script = NextScript();
  const auto decoded = wire::DecodeComputeRequest(request);
  if (!decoded.ok()) return decoded.status();
  record->spec = decoded->spec;
  if (!script.failure.ok()) return script.failure;
  const TensorDesc& desc = decoded->tensors.predictions.desc;
  PartialSums sums;
  wire::OutputFields<wire::OutgoingTensor> outputs;
  outputs.gradient = wire::OutgoingTensor{desc.dtype, desc.shape, desc.layout,
                                          Doubled(Floats(decoded->tensors.predictions.data), sums)};
  if (!decoded->spec.outputs.gradient) outputs.gradient.reset();
  sums.position_count = *ElementCount(decoded->tensors.targets.desc.shape);
  const LossResult result = ResultOf(sums, *ElementCount(desc.shape));
  std::vector<wire::Message> answer = {
      wire::Message(*wire::EncodeComputeResponse(result, outputs))};
  if (script.meddle) script.meddle(answer);
  return answer.front();
}

std::unique_ptr<StreamPeer> DoublingService::Stream(const std::string& method) {
  std::shared_ptr<Record> record = NewRecord(method);
  return std::make_unique<DoublingPeer>(NextScript(), std::move(record));
}

}  // namespace lossd
