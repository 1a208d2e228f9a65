#include "server/calls/stream_call.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/exec/working_memory.h"
#include "lossd/status_macros.h"
#include "protos/wire/response_codec.h"
#include "server/calls/accept.h"
#include "server/calls/answer.h"
#include "server/calls/entry.h"

namespace lossd {

bool StreamCall::Accept(const Environment& environment) {
  environment.calls->Waiting();
  StreamCall* call = nullptr;
  try {
    call = new StreamCall(environment);
    environment.service->RequestComputeStream(&call->context_, &call->stream_, environment.queue,
                                              call->request_event_.Tag());
  } catch (const std::bad_alloc&) {
    delete call;
    environment.calls->NeverBegan();
    return false;
  }
  return true;
}

StreamCall::StreamCall(const Environment& environment)
    : environment_(environment),
      record_(environment.log, environment.audit, environment.metrics, Method::kComputeStream),
      session_(environment.limits) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

void StreamCall::Drop() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  environment_.ticker->Remove(this);
  const Environment& environment = environment_;
  delete this;
  AcceptPutOff(environment);
  environment.calls->Ended();
}

// ----------------------------------------------------------------------------------- events

void StreamCall::OnRequest(bool ok) {
  if (!ok) {  // the server is shutting down; the other events of a call that never began do not
              // come
    CallCount* const calls = environment_.calls;
    delete this;
    return calls->NeverBegan();
  }
  lossd::Accept(environment_, Method::kComputeStream);
  environment_.calls->Began();
  environment_.ticker->Add(this);
  {
    const Instant now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    times_.emplace(environment_.times, now);
    if (absl::Status may = Guarded([&] { return Begin(now); }); !may.ok()) Fail(std::move(may));
    Read();
  }
  Drop();
}

absl::Status StreamCall::Begin(Instant now) {
  record_.Began(context_, now);
  LOSSD_ASSIGN_OR_RETURN(std::string caller, Enter(*environment_.caps, environment_.authenticator,
                                                   context_, now, pass_));
  record_.CalledBy(std::move(caller));
  return absl::OkStatus();
}

void StreamCall::OnRead(bool ok) {
  bool handle = false;
  bool cheap = false;
  {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    const auto length = ok ? static_cast<int64_t>(incoming_.Length()) : 0;
    const Instant now = std::chrono::steady_clock::now();
    record_.Took(Phase::kUpload, now - reading_since_);
    times_->Arrived(now, length);
    SetDue(times_->due());
    if (!ok) upload_over_ = true;
    record_.Received(incoming_.Length());
    if (absl::Status paid = PayFor(length); !paid.ok()) Fail(std::move(paid));
    if (!over_ && !failed_) {
      ++in_flight_;
      arrivals_.push_back({std::exchange(incoming_, grpc::ByteBuffer()), !ok, now});
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
    Written();
    times_->Written();
    SetDue(times_->due());
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

void StreamCall::OnFinish(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    if (ok) Written();
  }
  Drop();
}

void StreamCall::OnDone(bool ok) {
  if (context_.IsCancelled()) {
    {
      const std::lock_guard lock(mutex_);
      BreakOff();
      pass_.BrokenOff();
    }
    if (environment_.budget->Withdraw(this, std::chrono::steady_clock::now())) Drop();
  }
  Drop();
}

void StreamCall::OnDue(Instant now) {
  const std::lock_guard lock(mutex_);
  switch (times_->Check(now)) {
    case CallTimes::Overdue::kNothing:
      return;
    case CallTimes::Overdue::kUpload:
      return Fail(Refuse(Refusal::kStalled,
                         absl::StrFormat("too little was sent for too long: %d bytes came behind "
                                         "the header",
                                         received_bytes_)));
    case CallTimes::Overdue::kCall:
      return Fail(TookTooLong(environment_.times));
    case CallTimes::Overdue::kDownload:
      if (!over_ && !failed_) {  // the status waits for what is being written; it may yet be taken
        times_->Refused(now);
        SetDue(times_->due());
        return Fail(Refuse(Refusal::kStalled, "the answers were not taken for too long"));
      }
      if (std::exchange(given_up_, true)) return;
      if (!failed_) ++environment_.counters->refused_for(Refusal::kStalled);
      return context_.TryCancel();
  }
}

// ------------------------------------------------------------------------------------- memory

absl::Status StreamCall::AskForMemory() {
  cost_.emplace(session_.plan(), session_.declared_positions(), session_.all_side_bytes(),
                WorkingBytes(session_.plan(), environment_.executor->threads()), kMaxInFlight);
  const Instant now = std::chrono::steady_clock::now();
  asked_for_memory_ = now;
  std::optional<absl::StatusOr<ByteBudget::Grant>> grant =
      environment_.budget->Acquire({.peer = pass_.peer(),
                                    .bytes = cost_->Initial(environment_.limits.max_block_bytes),
                                    .deadline = DeadlineOf(context_, now)},
                                   now, this);
  if (!grant) {
    Hold();  // OnAnswer's, which needs mutex_ first
    return absl::OkStatus();
  }
  LOSSD_ASSIGN_OR_RETURN(grant_, *std::move(grant));
  granted_ = true;
  return absl::OkStatus();
}

void StreamCall::OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) {
  bool prepare = false;
  {
    const std::lock_guard lock(mutex_);
    record_.Took(Phase::kQueue, std::chrono::steady_clock::now() - asked_for_memory_);
    if (over_ || failed_) {
      // Nobody waits for it any more.
    } else if (!answer.ok()) {
      Fail(answer.status());
    } else {
      grant_ = *std::move(answer);
      granted_ = true;
      prepare = session_.state() == StreamSession::State::kBlocks;
      handling_ = prepare;  // nothing has been read that others could handle
    }
  }
  absl::Status prepared;
  if (prepare) prepared = Guarded([this] { return Prepare(); });
  {
    const std::lock_guard lock(mutex_);
    if (prepare) handling_ = false;
    if (!prepared.ok()) Fail(std::move(prepared));
    Read();
  }
  Drop();
}

absl::Status StreamCall::PayFor(int64_t message_bytes) {
  if (!granted_) return absl::OkStatus();  // the header
  received_bytes_ += message_bytes;
  // What is larger is refused when it is dealt with.
  if (message_bytes > environment_.limits.max_block_bytes) return absl::OkStatus();
  if (message_bytes <= paid_message_bytes_) return absl::OkStatus();
  const int64_t more = cost_->WithMessages(message_bytes) - grant_.bytes();
  if (more > 0) LOSSD_RETURN_IF_ERROR(grant_.Extend(more));
  paid_message_bytes_ = message_bytes;
  return absl::OkStatus();
}

int64_t StreamCall::LargestToCome() const {
  if (!cost_) return 0;
  return std::clamp<int64_t>(cost_->upload_bytes() - received_bytes_, 0,
                             environment_.limits.max_block_bytes);
}

// ----------------------------------------------------------------------------------- operations

void StreamCall::Read() {
  if (over_ || failed_ || reading_ || upload_over_ || in_flight_ >= kMaxInFlight) return;
  if (std::exchange(header_asked_for_, true) && !granted_) return;
  reading_ = true;
  reading_since_ = std::chrono::steady_clock::now();
  times_->Reading(reading_since_, LargestToCome());
  SetDue(times_->due());
  Hold();
  stream_.Read(&incoming_, read_event_.Tag());
}

void StreamCall::Write() {
  if (over_ || failed_ || writing_ || answers_.empty()) return;
  const bool last = answers_.front().last;
  outgoing_.Swap(&answers_.front().message);
  answers_.pop_front();
  record_.Sent(outgoing_.Length());
  writing_since_ = std::chrono::steady_clock::now();
  Hold();
  times_->Writing(*writing_since_, static_cast<int64_t>(outgoing_.Length()));
  SetDue(times_->due());
  if (last) {
    over_ = true;
    stream_.WriteAndFinish(outgoing_, grpc::WriteOptions(), Concluded(absl::OkStatus()),
                           finish_event_.Tag());
  } else {
    writing_ = true;
    stream_.Write(outgoing_, write_event_.Tag());
  }
}

void StreamCall::Written() {
  if (!writing_since_) return;  // a status alone
  record_.Took(Phase::kDownload, std::chrono::steady_clock::now() - *writing_since_);
  writing_since_.reset();
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
  failure_ = Concluded(session_.Refuse(std::move(status)));
  stop_.store(true, std::memory_order_relaxed);
  arrivals_.clear();
  answers_.clear();
  if (!writing_) Finish();
}

grpc::Status StreamCall::Concluded(const absl::Status& status) {
  return Conclude(record_, status, *environment_.counters, context_);
}

void StreamCall::Finish() {
  if (over_) return;
  over_ = true;
  Hold();
  times_->Writing(std::chrono::steady_clock::now(), 0);
  SetDue(times_->due());
  stream_.Finish(failure_, finish_event_.Tag());
}

// The call is dead: nothing more can be sent, and nobody waits for it.
void StreamCall::BreakOff() {
  over_ = true;
  stop_.store(true, std::memory_order_relaxed);
  arrivals_.clear();
  answers_.clear();
}

}  // namespace lossd
