#include "server/calls/unary_call.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"
#include "protos/wire/metadata.h"
#include "server/admission/call_times.h"
#include "server/calls/accept.h"
#include "server/calls/answer.h"
#include "server/calls/entry.h"

namespace lossd {
namespace {

constexpr char kNoMessage[] =
    "the call ends without a message, or what came is none of gRPC's, such as JSON or gRPC-Web; "
    "wanted one message as application/grpc has them";

// A message that is so far behind loses its place to any other, however few places its peer has;
// sooner if nothing of it has come.
constexpr Interval kSilentBesideEquals = std::chrono::seconds(1);

// What the client says of its message; nullopt: nothing.
absl::StatusOr<std::optional<int64_t>> ToldBytes(const grpc::ServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range(wire::kMessageBytesKey);
  if (begin == end) return std::nullopt;
  int64_t bytes = 0;
  const absl::string_view text(begin->second.data(), begin->second.size());
  if (std::next(begin) != end || !absl::SimpleAtoi(text, &bytes) || bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("metadata %s wants the bytes of the message, once, as a whole number >= 0",
                        wire::kMessageBytesKey));
  }
  return bytes;
}

}  // namespace

bool UnaryCall::Accept(const Environment& environment, const UnaryMethod& method) {
  environment.calls->Waiting();
  UnaryCall* call = nullptr;
  try {
    call = new UnaryCall(environment, method);
    environment.service->RequestUnary(method.method, &call->context_, &call->reader_,
                                      environment.queue, call->request_event_.Tag());
  } catch (const std::bad_alloc&) {
    delete call;
    environment.calls->NeverBegan();
    return false;
  }
  return true;
}

UnaryCall::UnaryCall(const Environment& environment, const UnaryMethod& method)
    : environment_(environment),
      method_(method),
      record_(environment.log, environment.audit, environment.metrics, method.method) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

void UnaryCall::Drop() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  environment_.ticker->Remove(this);
  if (broken_off_) pass_.BrokenOff();
  const Environment& environment = environment_;
  delete this;
  AcceptPutOff(environment);
  environment.calls->Ended();
}

// ------------------------------------------------------------------------------------- steps

void UnaryCall::OnRequest(bool ok) {
  if (!ok) {  // the server is shutting down; the other events of a call that never began do not
              // come
    CallCount* const calls = environment_.calls;
    delete this;
    return calls->NeverBegan();
  }
  lossd::Accept(environment_, method_.method);
  environment_.calls->Began();
  begun_ = std::chrono::steady_clock::now();
  waiting_since_ = begun_;
  SetDue(begun_ + environment_.times.call);
  environment_.ticker->Add(this);
  GoOn(Guarded([this] { return Begin(); }));
}

void UnaryCall::GoOn(const absl::StatusOr<Next>& next) {
  if (!next.ok()) return Answer(next.status());
  switch (*next) {
    case Next::kWait:
      return;
    case Next::kRead:
      return Read();
    case Next::kRun:
      place_ = MessageGate::Place();
      return Run();
    case Next::kSubmit:
      place_ = MessageGate::Place();
      return Submit();
  }
}

absl::StatusOr<UnaryCall::Next> UnaryCall::Begin() {
  record_.Began(context_, begun_);
  LOSSD_ASSIGN_OR_RETURN(std::string caller, Enter(*environment_.caps, environment_.authenticator,
                                                   context_, begun_, pass_));
  record_.CalledBy(std::move(caller));
  connection_ = context_.peer();
  LOSSD_ASSIGN_OR_RETURN(told_, ToldBytes(context_));
  if (told_) {
    if (*told_ > environment_.limits.max_unary_bytes) {
      return TooLargeForOneMessage(*told_, environment_.limits);
    }
    return Acquire(2 * std::max<int64_t>(*told_, 1), begun_, Next::kRead);
  }
  SetDue(begun_ + std::min(environment_.times.place, environment_.times.call));
  std::optional<MessageGate::Place> place = environment_.gate->Enter(pass_.peer(), this);
  if (!place) return Next::kWait;  // OnPlace goes on, and may have been there already
  place_ = *std::move(place);
  return Next::kRead;
}

void UnaryCall::OnPlace(MessageGate::Place place) {
  place_ = std::move(place);
  Read();
}

void UnaryCall::Read() {
  reading_since_ = std::chrono::steady_clock::now();
  record_.Took(Phase::kQueue, reading_since_ - waiting_since_);
  pass_.Expect(told_.value_or(environment_.limits.max_unary_bytes));
  references_.fetch_add(1, std::memory_order_relaxed);
  times_.emplace(environment_.times, begun_);
  times_->Arrived(begun_, 0);  // the header
  times_->Reading(reading_since_, told_.value_or(environment_.limits.max_unary_bytes), Received());
  received_before_ = Received();
  const Instant due = NextLook(reading_since_);
  stage_ = Stage::kReading;
  SetDue(due);
  reader_.Read(&request_, read_event_.Tag());
}

void UnaryCall::OnRead(bool ok) {
  if (ok) pass_.Arrived(static_cast<int64_t>(request_.Length()));
  Stage reading = Stage::kReading;
  if (stage_.compare_exchange_strong(reading, Stage::kRead)) {
    GoOn(Guarded([&] { return Admit(ok); }));
  }
  Drop();
}

absl::StatusOr<UnaryCall::Next> UnaryCall::Admit(bool ok) {
  const auto length = static_cast<int64_t>(request_.Length());
  waiting_since_ = std::chrono::steady_clock::now();
  record_.Received(request_.Length());
  record_.Took(Phase::kUpload, waiting_since_ - reading_since_);
  SetDue(begun_ + environment_.times.call);
  if (!ok) return absl::InvalidArgumentError(kNoMessage);
  if (length > environment_.limits.max_unary_bytes) {
    return TooLargeForOneMessage(length, environment_.limits);
  }
  const Next then = HowToRun();
  if (!told_) return Acquire(2 * length, waiting_since_, then);
  if (length > *told_) LOSSD_RETURN_IF_ERROR(grant_.Extend(2 * (length - *told_)));
  return then;
}

absl::StatusOr<UnaryCall::Next> UnaryCall::Acquire(int64_t bytes, Instant now, Next then) {
  std::optional<absl::StatusOr<ByteBudget::Grant>> grant = environment_.budget->Acquire(
      {.peer = pass_.peer(), .bytes = bytes, .deadline = DeadlineOf(context_, now)}, now, this);
  if (!grant) return Next::kWait;
  LOSSD_ASSIGN_OR_RETURN(grant_, *std::move(grant));
  return then;
}

void UnaryCall::OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) {
  const bool read = stage_ == Stage::kRead;
  if (!answer.ok()) {
    record_.Took(Phase::kQueue, std::chrono::steady_clock::now() - waiting_since_);
    return Answer(answer.status());
  }
  grant_ = *std::move(answer);
  GoOn(read ? Next::kSubmit : Next::kRead);
}

UnaryCall::Next UnaryCall::HowToRun() const {
  const auto length = static_cast<int64_t>(request_.Length());
  if (length <= kInlineBytes) return Next::kRun;
  const bool here =
      length <= kInlineUnaryBytes && !environment_.executor->busy() && method_.is_quick(request_);
  return here ? Next::kRun : Next::kSubmit;
}

void UnaryCall::Submit() {
  const auto length = static_cast<int64_t>(request_.Length());
  environment_.executor->Submit(
      this, {.share = pass_.share(), .bytes = length, .urgent = length <= kSmallCallBytes});
}

void UnaryCall::Run() {
  const Instant started = std::chrono::steady_clock::now();
  record_.Took(Phase::kQueue, started - waiting_since_);
  const absl::StatusOr<grpc::ByteBuffer> answer = Guarded(
      [&] { return method_.handle(environment_, request_, grant_, record_, StopToken(&stop_)); });
  record_.Took(Phase::kCompute, std::chrono::steady_clock::now() - started);
  Answer(answer);
}

void UnaryCall::Answer(const absl::StatusOr<grpc::ByteBuffer>& answer) {
  // While something is read, gRPC has the request.
  if (stage_.exchange(Stage::kAnswering) == Stage::kRead) request_.Clear();
  place_ = MessageGate::Place();
  if (answer.ok()) record_.Sent(answer->Length());
  answered_ = std::chrono::steady_clock::now();
  CallTimes times(environment_.times, begun_);
  times.Writing(answered_, answer.ok() ? static_cast<int64_t>(answer->Length()) : 0);
  SetDue(times.due());
  absl::Status status = answer.status();
  if (absl::IsCancelled(status) && took_too_long_) status = TookTooLong(environment_.times);
  const grpc::Status concluded = Conclude(record_, status, *environment_.counters, context_);
  if (answer.ok()) {
    reader_.Finish(*answer, concluded, finish_event_.Tag());
  } else {
    reader_.FinishWithError(concluded, finish_event_.Tag());
  }
}

// ----------------------------------------------------------------------------- what else happens

void UnaryCall::OnDue(Instant now) {
  const bool over = now >= begun_ + environment_.times.call;
  switch (stage_.load()) {
    case Stage::kBegun:
      if (environment_.gate->Withdraw(this)) {
        Answer(Refuse(Refusal::kQueueTimeout,
                      "messages that may be large are on their way; the call waited as long as it "
                      "may for its own to be read"));
      }
      return;
    case Stage::kReading: {
      const Instant due = looks_at_;
      times_->Look(now, Received());
      if (TooMuchCame()) {
        pass_.Forgive();
        return GiveUp(TooLargeForOneMessage(environment_.limits));
      }
      if (times_->Check(now) == CallTimes::Overdue::kNothing) return MoveDue(due, NextLook(now));
      return GiveUp(over ? TookTooLong(environment_.times)
                         : Refuse(Refusal::kStalled, "the message did not come for too long"));
    }
    case Stage::kRead:
      if (!over) return;  // it has just been read
      took_too_long_ = true;
      stop_.store(true, std::memory_order_relaxed);
      return;
    case Stage::kAnswering:
      return context_.TryCancel();  // nobody takes the answer
  }
}

// gRPC shows a message when it has all come. One that becomes too large is refused before its
// connection is broken for what it brings.
bool UnaryCall::TooMuchCame() const {
  if (told_ || !received_before_ || !pass_.Overrun()) return false;
  return Received().value_or(0) - *received_before_ > environment_.limits.max_unary_bytes;
}

Instant UnaryCall::NextLook(Instant now) {
  looks_at_ = told_ ? times_->due() : std::min(times_->due(), now + kWatchPeriod);
  return looks_at_;
}

void UnaryCall::OnWanted(Instant now) {
  if (stage_ != Stage::kReading) return;
  const bool wanted = grant_.Wanted() || place_.Wanted();
  if (!wanted && !place_.Awaited()) return;
  times_->Look(now, Received());
  const bool soon = wanted || pass_.Silent();
  if (times_->Behind(now) < (soon ? CallTimes::kMayLoseAfter : kSilentBesideEquals)) return;
  GiveUp(Refuse(Refusal::kOverBudget,
                "others wait for the memory that was kept for a message that does not come"));
}

void UnaryCall::GiveUp(const absl::Status& why) {
  Stage reading = Stage::kReading;
  if (!stage_.compare_exchange_strong(reading, Stage::kAnswering)) return;
  grant_.GiveBack();
  place_.GiveBack();
  Answer(why);
}

std::optional<int64_t> UnaryCall::Received() const {
  return environment_.arrivals == nullptr ? std::nullopt
                                          : environment_.arrivals->BytesReceived(connection_);
}

void UnaryCall::OnFinish(bool ok) {
  if (ok) record_.Took(Phase::kDownload, std::chrono::steady_clock::now() - answered_);
  Drop();
}

void UnaryCall::OnDone(bool ok) {
  if (context_.IsCancelled()) {
    stop_.store(true, std::memory_order_relaxed);
    broken_off_ = true;
    if (environment_.budget->Withdraw(this, std::chrono::steady_clock::now()) ||
        environment_.gate->Withdraw(this)) {
      Answer(absl::CancelledError("the call was broken off"));
    }
  }
  Drop();
}

}  // namespace lossd
