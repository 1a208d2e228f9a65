#include "server/calls/unary_call.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"
#include "protos/wire/metadata.h"
#include "server/admission/call_times.h"
#include "server/calls/answer.h"

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
  return WaitFor(environment, [&]() -> LossCall* { return new UnaryCall(environment, method); });
}

void UnaryCall::Request(void* tag) {
  environment_.service->RequestUnary(method_.method, &context_, &reader_, environment_.queue, tag);
}

UnaryCall::~UnaryCall() {
  if (broken_off_) pass_.BrokenOff();
}

// ------------------------------------------------------------------------------------- steps

// Its reference is that of the steps; from Answer on it is OnFinish's.
void UnaryCall::Start() {
  waiting_since_ = begun_;
  SetDue(begun_ + environment_.times.call);
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
  LOSSD_RETURN_IF_ERROR(LetIn());
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
  const Instant now = std::chrono::steady_clock::now();
  const int64_t at_most = told_.value_or(environment_.limits.max_unary_bytes);
  record_.Took(Phase::kQueue, now - waiting_since_);
  pass_.Expect(at_most);
  times_->Arrived(begun_, 0);  // the header
  ReadingSince(now, at_most);
  Hold();  // OnRead's
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
  std::optional<absl::StatusOr<ByteBudget::Grant>> grant = AskForMemory(bytes, now);
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

UnaryCall::Next UnaryCall::HowToRun() {
  to_compute_ = static_cast<int64_t>(request_.Length());
  const int64_t shared = environment_.regions->amount()->bytes;
  if (shared > 0) to_compute_ += std::min(shared, method_.beside(request_));
  if (to_compute_ <= kInlineBytes) return Next::kRun;
  const bool here = to_compute_ <= kInlineUnaryBytes && !environment_.executor->busy() &&
                    method_.is_quick(request_);
  return here ? Next::kRun : Next::kSubmit;
}

void UnaryCall::Submit() {
  environment_.executor->Submit(
      this,
      {.share = pass_.share(), .bytes = to_compute_, .urgent = to_compute_ <= kSmallCallBytes});
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
  const grpc::Status concluded = Concluded(status);
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
      LookAtUpload(now);
      if (!told_ && BroughtMoreThan(environment_.limits.max_unary_bytes)) {
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
      return context_.TryCancel();  // the client does not take the answer
  }
}

Instant UnaryCall::NextLook(Instant now) {
  looks_at_ = told_ ? times_->due() : std::min(times_->due(), now + kWatchPeriod);
  return looks_at_;
}

void UnaryCall::OnWanted(Instant now) {
  if (stage_ != Stage::kReading) return;
  const bool wanted = grant_.Wanted() || place_.Wanted();
  if (!wanted && !place_.Awaited()) return;
  LookAtUpload(now);
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

void UnaryCall::OnFinish(bool ok) {
  if (ok) record_.Took(Phase::kDownload, std::chrono::steady_clock::now() - answered_);
  Drop();
}

void UnaryCall::OnBrokenOff() {
  stop_.store(true, std::memory_order_relaxed);
  broken_off_ = true;
}

void UnaryCall::OnWithdrawn() { Answer(absl::CancelledError("the call was broken off")); }

}  // namespace lossd
