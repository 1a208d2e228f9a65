// What a StreamCall does with what has come: the handling role, and the computing of blocks beside
// it.

#include <chrono>
#include <utility>
#include <variant>

#include "absl/strings/str_format.h"
#include "lossd/status_macros.h"
#include "protos/wire/response_codec.h"
#include "server/calls/answer.h"
#include "server/calls/outputs.h"
#include "server/calls/stream_call.h"

namespace lossd {

namespace {

// A header of that many bytes has some hundred boxes at most.
constexpr int64_t kInlineHeaderBytes = 4 << 10;

}  // namespace

// Whether a polling thread may deal with it: it is small, and it will not set off the preparation
// of side tensors that are large.
bool StreamCall::IsCheap(const Arrival& arrival) const {
  const auto length = static_cast<int64_t>(arrival.message.Length());
  switch (session_.state()) {
    case StreamSession::State::kHeader:
      return length <= kInlineHeaderBytes;
    case StreamSession::State::kSide:
      return length <= kInlineBytes && session_.all_side_bytes() <= kInlineBytes;
    default:
      return length <= kInlineBytes;
  }
}

void StreamCall::SubmitHandle() {
  Executor::Order order;
  {
    const std::lock_guard lock(mutex_);
    order = {
        .share = pass_.share(),
        .bytes = arrivals_.empty() ? 0 : static_cast<int64_t>(arrivals_.front().message.Length()),
        .urgent = cost_ && cost_->upload_bytes() <= kSmallCallBytes};
  }
  environment_.executor->Submit(this, order);
}

std::optional<StreamCall::Arrival> StreamCall::TakeArrival() {
  const std::lock_guard lock(mutex_);
  if (arrivals_.empty()) {  // the call has failed or broken off
    handling_ = false;
    return std::nullopt;
  }
  Arrival arrival = std::move(arrivals_.front());
  arrivals_.pop_front();
  const Instant now = std::chrono::steady_clock::now();
  record_.Took(Phase::kQueue, now - std::exchange(arrival.since, now));
  return arrival;
}

void StreamCall::Handle(bool on_executor) {
  for (Next next = Next::kHere; next == Next::kHere;) {
    std::optional<Arrival> arrival = TakeArrival();
    if (!arrival) break;
    absl::StatusOr<Block> block = Guarded([&] { return Deal(*arrival); });
    const Interval took = std::chrono::steady_clock::now() - arrival->since;
    arrival.reset();  // the memory of a message goes before the next one is read
    const bool admitted = block.ok() && block->has_value();
    {
      const std::lock_guard lock(mutex_);
      record_.Took(Phase::kCompute, took);
      if (!block.ok()) Fail(block.status());
      if (!admitted) --in_flight_;
      next = NextStep(/*stay=*/!admitted, on_executor);
      Write();  // the summary, where the last block was computed before the upload ended
      Read();
    }
    if (next == Next::kSubmitted) {
      Hold();
      SubmitHandle();
    }
    if (admitted) Compute(**std::move(block));
  }
  Drop();
}

StreamCall::Next StreamCall::NextStep(bool stay, bool on_executor) {
  handling_ = !arrivals_.empty();
  if (!handling_) return Next::kNothing;
  return stay && (on_executor || IsCheap(arrivals_.front())) ? Next::kHere : Next::kSubmitted;
}

absl::StatusOr<StreamCall::Block> StreamCall::Deal(const Arrival& arrival) {
  if (arrival.end) {
    const std::lock_guard lock(mutex_);
    LOSSD_RETURN_IF_ERROR(session_.OnEndOfUpload());
    QueueSummaryIfDue();
    return Block();
  }
  const auto length = static_cast<int64_t>(arrival.message.Length());
  if (length > environment_.limits.max_block_bytes) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "a message of the stream is %d bytes; this server takes at most %d (--max-block-bytes)",
        length, environment_.limits.max_block_bytes));
  }
  LOSSD_ASSIGN_OR_RETURN(wire::DecodedStreamPart part,
                         wire::DecodeStreamRequest(wire::Message(arrival.message)));
  return std::visit([this]<class T>(T&& decoded) { return DealWith(std::forward<T>(decoded)); },
                    std::move(part));
}

absl::StatusOr<StreamCall::Block> StreamCall::DealWith(wire::DecodedHeader header) {
  {
    const std::lock_guard lock(mutex_);
    LOSSD_RETURN_IF_ERROR(session_.CheckHeaderIsWanted());
    LOSSD_RETURN_IF_ERROR(
        PayForCoverage(BoxCoverage::BytesOf(static_cast<int64_t>(header.boxes.size()))));
  }
  absl::StatusOr<StreamSession::Planned> planned = StreamSession::Plan(
      header.request.spec, header.request.Descs(), std::move(header.boxes), environment_.limits);
  bool prepare = false;
  {
    const std::lock_guard lock(mutex_);
    record_.Wants(header.request.spec.loss);
    LOSSD_RETURN_IF_ERROR(session_.OnHeader(std::move(planned)));
    LOSSD_RETURN_IF_ERROR(AskForRoom());
    prepare = granted_ && session_.state() == StreamSession::State::kBlocks;
  }
  if (prepare) LOSSD_RETURN_IF_ERROR(Prepare());
  return Block();
}

absl::StatusOr<StreamCall::Block> StreamCall::DealWith(wire::DecodedSideData side_data) {
  int64_t declared = 0;
  bool prepare = false;
  {
    const std::lock_guard lock(mutex_);
    LOSSD_RETURN_IF_ERROR(
        session_.OnSideData(side_data.kind, side_data.offset_bytes, side_data.data.size()));
    declared = session_.side_bytes(side_data.kind);
    prepare = session_.state() == StreamSession::State::kBlocks;
  }
  LOSSD_RETURN_IF_ERROR(side_.of(side_data.kind).Append(side_data.data, declared));
  if (prepare) LOSSD_RETURN_IF_ERROR(Prepare());
  return Block();
}

absl::StatusOr<StreamCall::Block> StreamCall::DealWith(wire::DecodedBlock block) {
  const std::lock_guard lock(mutex_);
  if (session_.state() == StreamSession::State::kBlocks) {
    LOSSD_RETURN_IF_ERROR(PayForCoverage(session_.coverage_bytes() + BoxCoverage::kMostOfABlock));
  }
  LOSSD_RETURN_IF_ERROR(session_.OnBlock(block.box, wire::SizesOf(block)));
  return Block(std::move(block));
}

absl::Status StreamCall::Prepare() {
  LOSSD_ASSIGN_OR_RETURN(run_, LossRun::Prepare(session_.plan(), side_.Spans(),
                                                *environment_.executor, StopToken(&stop_)));
  return absl::OkStatus();
}

// ----------------------------------------------------------------------------------- computing

void StreamCall::Compute(wire::DecodedBlock block) {
  const Instant started = std::chrono::steady_clock::now();
  PartialSums sums;
  absl::StatusOr<grpc::ByteBuffer> answer =
      Guarded([&] { return ComputeBlock(std::move(block), sums); });
  const std::lock_guard lock(mutex_);
  record_.Took(Phase::kCompute, std::chrono::steady_clock::now() - started);
  if (over_ || failed_) return;
  absl::Status status = answer.status();
  if (status.ok()) status = session_.OnBlockComputed(sums);
  if (!status.ok()) return Fail(std::move(status));
  answers_.push_back({*std::move(answer)});
  QueueSummaryIfDue();
  Write();
}

absl::StatusOr<grpc::ByteBuffer> StreamCall::ComputeBlock(wire::DecodedBlock block,
                                                          PartialSums& sums) const {
  OutputBuffers outputs;
  LOSSD_RETURN_IF_ERROR(outputs.Take(run_->plan(), block.box, *environment_.pool));
  LOSSD_ASSIGN_OR_RETURN(sums, run_->RunBox(block.box, block, outputs.Spans(),
                                            *environment_.executor, StopToken(&stop_)));
  return wire::EncodeBlockResult(block.box, sums, std::move(outputs).IntoPayloads());
}

}  // namespace lossd
