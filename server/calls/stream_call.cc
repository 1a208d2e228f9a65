#include "server/calls/stream_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/exec/working_memory.h"
#include "lossd/status_macros.h"
#include "protos/wire/response_codec.h"
#include "server/calls/answer.h"

namespace lossd {

namespace {

// A stream that has been read so far keeps its place no longer if others wait for it: more than the
// most that usual calls bring, so that these run through.
constexpr int64_t kTurnBytes = int64_t{256} << 20;

// A place goes to others when nothing of the stream was here for so long, or when an answer was not
// taken for so long.
constexpr Interval kIdleAfter = std::chrono::milliseconds(40);
constexpr Interval kDeafAfter = std::chrono::milliseconds(500);

}  // namespace

bool StreamCall::Accept(const Environment& environment) {
  return WaitFor(environment, [&]() -> LossCall* { return new StreamCall(environment); });
}

void StreamCall::Request(void* tag) {
  environment_.service->RequestComputeStream(&context_, &stream_, environment_.queue, tag);
}

// ----------------------------------------------------------------------------------- events

void StreamCall::Start() {
  {
    const std::lock_guard lock(mutex_);
    if (absl::Status may = Guarded([this] { return LetIn(); }); !may.ok()) Fail(std::move(may));
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
    const auto length = ok ? static_cast<int64_t>(incoming_.Length()) : 0;
    const Instant now = std::chrono::steady_clock::now();
    record_.Took(Phase::kUpload, now - reading_since_);
    times_->Arrived(now, length);
    if (ok) pass_.Arrived(length);
    SetDue(times_->due());
    if (!ok) upload_over_ = true;
    record_.Received(incoming_.Length());
    if (!over_ && !failed_) {
      if (absl::Status paid = PayFor(length); !paid.ok()) Fail(std::move(paid));
    }
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

void StreamCall::OnBrokenOff() {
  const std::lock_guard lock(mutex_);
  BreakOff();
  pass_.BrokenOff();
}

void StreamCall::OnDue(Instant now) {
  const std::lock_guard lock(mutex_);
  if (reading_) LookAtUpload(now);
  SetDue(NextDue(now));
  if (reading_ && !over_ && !failed_ && BroughtMoreThan(environment_.limits.max_block_bytes)) {
    pass_.Forgive();
    return Fail(absl::ResourceExhaustedError(
        absl::StrFormat("a message of the stream is larger than %d bytes, the most this server "
                        "takes (--max-block-bytes)",
                        environment_.limits.max_block_bytes)));
  }
  switch (times_->Check(now)) {
    case CallTimes::Overdue::kNothing:
      return;
    case CallTimes::Overdue::kUpload:
      if (over_ || failed_) return;
      GiveBack();
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

Instant StreamCall::NextDue(Instant now) const {
  return reading_ ? std::min(times_->due(), now + kWatchPeriod) : times_->due();
}

// Gives back what others wait for and this does not use.
void StreamCall::OnWanted(Instant now) {
  const std::lock_guard lock(mutex_);
  if (over_ || failed_) {  // the peer does not take the end
    if (place_.Awaited()) place_.GiveBack();
    return;
  }
  if (reading_ && grant_.Wanted()) {
    LookAtUpload(now);
    if (times_->Behind(now) >= CallTimes::kMayLoseAfter) {
      GiveBack();
      return Fail(Refuse(Refusal::kOverBudget,
                         "others wait for the memory that was kept for a stream that is silent"));
    }
  }
  const bool had_its_turn = received_bytes_ - read_before_place_ >= kTurnBytes;
  if (place_.Wanted() || (place_.Awaited() && (had_its_turn || !UsesPlace(now)))) {
    place_.GiveBack();
  }
}

// ------------------------------------------------------------------------------- places, memory

bool StreamCall::HasPlace() {
  if (place_) return true;
  if (waits_for_place_) return false;
  std::optional<MessageGate::Place> place = environment_.streams->Enter(pass_.peer(), this);
  if (place) {
    place_ = *std::move(place);
    read_before_place_ = received_bytes_;
    return true;
  }
  waits_for_place_ = true;
  waiting_since_ = std::chrono::steady_clock::now();
  Hold();  // OnPlace's, which needs mutex_ first
  return false;
}

bool StreamCall::UsesPlace(Instant now) const {
  if (writing_since_) return now - *writing_since_ < kDeafAfter;
  return !reading_ || in_flight_ > 0 || now - reading_since_ < kIdleAfter;
}

void StreamCall::OnPlace(MessageGate::Place place) {
  bool prepare = false;
  {
    const std::lock_guard lock(mutex_);
    waits_for_place_ = false;
    record_.Took(Phase::kQueue, std::chrono::steady_clock::now() - waiting_since_);
    if (!over_ && !failed_) {
      place_ = std::move(place);
      read_before_place_ = received_bytes_;
      if (!cost_) {
        if (absl::Status asked = Guarded([&] { return AskForGrant(); }); !asked.ok()) {
          Fail(std::move(asked));
        }
        prepare = MayPrepare();
      }
    }
  }
  GoOn(prepare);
}

absl::Status StreamCall::AskForRoom() { return HasPlace() ? AskForGrant() : absl::OkStatus(); }

// What is silent holds nothing that is in use: its memory may go at once.
void StreamCall::GiveBack() {
  if (handling_ || preparing_ || in_flight_ > 0) return;
  side_ = SideBuffers();
  run_.reset();
  grant_.GiveBack();
  place_.GiveBack();
}

absl::Status StreamCall::AskForGrant() {
  cost_.emplace(session_.plan(), session_.declared_positions(), session_.all_side_bytes(),
                WorkingBytes(session_.plan(), environment_.executor->threads()), kMaxInFlight);
  const Instant now = std::chrono::steady_clock::now();
  waiting_since_ = now;
  std::optional<absl::StatusOr<ByteBudget::Grant>> grant =
      AskForMemory(cost_->Initial(environment_.limits.max_block_bytes), now);
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
    record_.Took(Phase::kQueue, std::chrono::steady_clock::now() - waiting_since_);
    if (over_ || failed_) {
      // The call does not need it any more.
    } else if (!answer.ok()) {
      Fail(answer.status());
    } else {
      grant_ = *std::move(answer);
      granted_ = true;
      prepare = MayPrepare();
    }
  }
  GoOn(prepare);
}

// Whether the header was all that had to come before blocks. Nothing is read before it is prepared
// for them.
bool StreamCall::MayPrepare() {
  preparing_ = granted_ && session_.state() == StreamSession::State::kBlocks;
  return preparing_;
}

// After a wait for a place or for memory. Uses up one reference.
void StreamCall::GoOn(bool prepare) {
  absl::Status prepared;
  if (prepare) prepared = Guarded([this] { return Prepare(); });
  {
    const std::lock_guard lock(mutex_);
    preparing_ = false;
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

// Paid in steps, before it is taken. A call may have little of it for nothing: most do not need
// more.
absl::Status StreamCall::PayForCoverage(int64_t bytes) {
  constexpr int64_t kFree = 64 << 10;
  constexpr int64_t kStep = 256 << 10;
  const int64_t paid = coverage_grant_.bytes();
  if (bytes <= std::max(kFree, paid)) return absl::OkStatus();
  const int64_t wanted = (bytes + kStep - 1) / kStep * kStep;
  if (paid > 0) return coverage_grant_.Extend(wanted - paid);
  LOSSD_ASSIGN_OR_RETURN(coverage_grant_,
                         environment_.budget->TakeNow({.peer = pass_.peer(), .bytes = wanted}));
  return absl::OkStatus();
}

int64_t StreamCall::LargestToCome() const {
  if (!cost_) return 0;
  return std::clamp<int64_t>(cost_->upload_bytes() - received_bytes_, 0,
                             environment_.limits.max_block_bytes);
}

// ----------------------------------------------------------------------------------- operations

void StreamCall::Read() {
  if (over_ || failed_ || reading_ || preparing_ || upload_over_) return;
  if (in_flight_ >= kMaxInFlight) return;
  if (std::exchange(header_asked_for_, true) && (!granted_ || !HasPlace())) return;
  reading_ = true;
  ReadingSince(std::chrono::steady_clock::now(), LargestToCome());
  SetDue(NextDue(reading_since_));
  pass_.Expect(cost_ ? LargestToCome() : environment_.limits.max_block_bytes);
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
  // Not the last reference: OnDone's is there until the call is over.
  if (waits_for_place_ && environment_.streams->Withdraw(this)) Drop();
  if (!writing_) Finish();
}

void StreamCall::Finish() {
  if (over_) return;
  over_ = true;
  Hold();
  times_->Writing(std::chrono::steady_clock::now(), 0);
  SetDue(times_->due());
  stream_.Finish(failure_, finish_event_.Tag());
}

// The client has gone: nothing more can be sent.
void StreamCall::BreakOff() {
  over_ = true;
  stop_.store(true, std::memory_order_relaxed);
  arrivals_.clear();
  answers_.clear();
}

}  // namespace lossd
