#include "server/calls/stream_call.h"

#include <utility>
#include <variant>

#include "absl/strings/str_format.h"
#include "lossd/status_macros.h"
#include "protos/wire/response_codec.h"
#include "server/calls/answer.h"
#include "server/calls/outputs.h"

namespace lossd {

void StreamCall::Accept(const Environment& environment) {
  environment.calls->Waiting();
  auto* const call = new StreamCall(environment);
  environment.service->RequestComputeStream(&call->context_, &call->stream_, environment.queue,
                                            environment.queue, call->request_event_.Tag());
}

StreamCall::StreamCall(const Environment& environment)
    : environment_(environment),
      log_(environment.log, "ComputeStream"),
      session_(environment.limits) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

void StreamCall::Drop() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  CallCount* const calls = environment_.calls;
  delete this;
  calls->Ended();
}

// ----------------------------------------------------------------------------------- events

void StreamCall::OnRequest(bool ok) {
  if (!ok) {  // the server is shutting down; the other events of a call that never began do not
              // come
    CallCount* const calls = environment_.calls;
    delete this;
    return calls->NeverBegan();
  }
  Accept(environment_);
  environment_.calls->Began();
  // OnDone may run on another thread and drop the reference the call began with.
  Hold();
  {
    const std::lock_guard lock(mutex_);
    log_.Began(context_);
    absl::Status may = environment_.authenticator->Authenticate(context_);
    if (!may.ok()) Fail(std::move(may));
    Read();
  }
  Drop();
}

void StreamCall::OnRead(bool ok) {
  bool handle = false;
  bool cheap = false;
  {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    if (!ok) upload_over_ = true;
    log_.Received(incoming_.Length());
    if (!over_ && !failed_) {
      ++in_flight_;
      arrivals_.push_back({std::exchange(incoming_, grpc::ByteBuffer()), !ok});
      Read();
      handle = !handling_;
      handling_ = true;
      cheap = IsCheap(arrivals_.front());
    }
  }
  if (!handle) return Drop();
  if (cheap) return Handle(/*on_executor=*/false);
  SubmitHandle();
}

void StreamCall::OnWrite(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    outgoing_.Clear();
    --in_flight_;
    if (!ok) {
      BreakOff();
    } else if (failed_) {
      Finish();
    } else {
      Write();
      Read();
    }
  }
  Drop();
}

void StreamCall::OnFinish(bool ok) { Drop(); }

void StreamCall::OnDone(bool ok) {
  if (context_.IsCancelled()) {
    const std::lock_guard lock(mutex_);
    BreakOff();
  }
  Drop();
}

// ----------------------------------------------------------------------------------- handling

// Whether a polling thread may deal with it: it is small, and it will not set off the preparation
// of side tensors that are large.
bool StreamCall::IsCheap(const Arrival& arrival) const {
  if (static_cast<int64_t>(arrival.message.Length()) > kInlineBytes) return false;
  return session_.state() != StreamSession::State::kSide ||
         session_.all_side_bytes() <= kInlineBytes;
}

void StreamCall::SubmitHandle() {
  environment_.executor->Submit([this] { Handle(/*on_executor=*/true); });
}

std::optional<StreamCall::Arrival> StreamCall::TakeArrival() {
  const std::lock_guard lock(mutex_);
  if (arrivals_.empty()) {  // the call has failed or broken off
    handling_ = false;
    return std::nullopt;
  }
  Arrival arrival = std::move(arrivals_.front());
  arrivals_.pop_front();
  return arrival;
}

void StreamCall::Handle(bool on_executor) {
  for (Next next = Next::kHere; next == Next::kHere;) {
    std::optional<Arrival> arrival = TakeArrival();
    if (!arrival) break;
    absl::StatusOr<Block> block = Guarded([&] { return Deal(*arrival); });
    arrival.reset();  // the memory of a message goes before the next one is read
    const bool admitted = block.ok() && block->has_value();
    {
      const std::lock_guard lock(mutex_);
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
  bool prepare = false;
  {
    const std::lock_guard lock(mutex_);
    LOSSD_RETURN_IF_ERROR(
        session_.OnHeader(header.request.spec, header.request.Descs(), std::move(header.boxes)));
    prepare = session_.state() == StreamSession::State::kBlocks;
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
  LOSSD_RETURN_IF_ERROR(
      session_.OnBlock(block.box, block.predictions.size(), block.class_probabilities.size()));
  return Block(std::move(block));
}

absl::Status StreamCall::Prepare() {
  LOSSD_ASSIGN_OR_RETURN(run_, LossRun::Prepare(session_.plan(), side_.Spans(),
                                                *environment_.executor, StopToken(&stop_)));
  return absl::OkStatus();
}

// ----------------------------------------------------------------------------------- computing

void StreamCall::Compute(wire::DecodedBlock block) {
  PartialSums sums;
  absl::StatusOr<grpc::ByteBuffer> answer =
      Guarded([&] { return ComputeBlock(std::move(block), sums); });
  const std::lock_guard lock(mutex_);
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
  LOSSD_ASSIGN_OR_RETURN(OutputBuffers outputs,
                         OutputBuffers::Take(run_->plan(), block.box, *environment_.pool));
  const BoxInputs inputs = {.predictions = block.predictions,
                            .class_probabilities = block.class_probabilities};
  LOSSD_ASSIGN_OR_RETURN(sums, run_->RunBox(block.box, inputs, outputs.Spans(),
                                            *environment_.executor, StopToken(&stop_)));
  return wire::EncodeBlockResult(block.box, sums, std::move(outputs).IntoPayloads());
}

// ----------------------------------------------------------------------------------- operations

void StreamCall::Read() {
  if (over_ || failed_ || reading_ || upload_over_ || in_flight_ >= kMaxInFlight) return;
  reading_ = true;
  Hold();
  stream_.Read(&incoming_, read_event_.Tag());
}

void StreamCall::Write() {
  if (over_ || failed_ || writing_ || answers_.empty()) return;
  const bool last = answers_.front().last;
  outgoing_.Swap(&answers_.front().message);
  answers_.pop_front();
  log_.Sent(outgoing_.Length());
  Hold();
  if (last) {
    over_ = true;
    stream_.WriteAndFinish(outgoing_, grpc::WriteOptions(), Concluded(absl::OkStatus()),
                           finish_event_.Tag());
  } else {
    writing_ = true;
    stream_.Write(outgoing_, write_event_.Tag());
  }
}

void StreamCall::QueueSummaryIfDue() {
  if (session_.state() != StreamSession::State::kDone) return;
  absl::StatusOr<grpc::ByteBuffer> summary =
      Guarded([&] { return wire::EncodeSummary(run_->Finish(session_.sums())); });
  if (!summary.ok()) return Fail(summary.status());
  answers_.push_back({*std::move(summary), /*last=*/true});
}

void StreamCall::Fail(absl::Status status) {
  if (over_ || failed_) return;
  failed_ = true;
  failure_ = session_.Refuse(std::move(status));
  stop_.store(true, std::memory_order_relaxed);
  arrivals_.clear();
  answers_.clear();
  if (!writing_) Finish();
}

grpc::Status StreamCall::Concluded(const absl::Status& status) {
  return Conclude(log_, status, *environment_.counters, context_);
}

void StreamCall::Finish() {
  if (over_) return;
  over_ = true;
  Hold();
  stream_.Finish(Concluded(failure_), finish_event_.Tag());
}

// The call is dead: nothing more can be sent, and nobody waits for it.
void StreamCall::BreakOff() {
  over_ = true;
  stop_.store(true, std::memory_order_relaxed);
  arrivals_.clear();
  answers_.clear();
}

}  // namespace lossd
