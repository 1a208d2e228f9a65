#include "server/calls/unary_call.h"

#include <chrono>
#include <new>
#include <optional>
#include <utility>

#include "lossd/status_macros.h"
#include "server/admission/call_times.h"
#include "server/calls/accept.h"
#include "server/calls/answer.h"

namespace lossd {

bool UnaryCall::Accept(const Environment& environment, const UnaryMethod& method) {
  environment.calls->Waiting();
  UnaryCall* call = nullptr;
  try {
    call = new UnaryCall(environment, method);
    (environment.service->*method.request)(&call->context_, &call->request_, &call->responder_,
                                           environment.queue, environment.queue,
                                           call->request_event_.Tag());
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
      record_(environment.log, environment.metrics, method.method) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

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
  SetDue(begun_ + environment_.times.call);
  environment_.ticker->Add(this);
  const absl::StatusOr<Next> next = Guarded([this] { return Begin(); });
  if (!next.ok()) return Answer(next.status());
  if (*next == Next::kHere) return Run();
  if (*next == Next::kSubmitted) return Submit();
}

absl::StatusOr<UnaryCall::Next> UnaryCall::Begin() {
  record_.Began(context_, begun_);
  record_.Received(request_.Length());
  LOSSD_RETURN_IF_ERROR(environment_.authenticator->Authenticate(context_));
  LOSSD_ASSIGN_OR_RETURN(pass_, environment_.caps->Begin(context_.peer(), begun_));
  const auto length = static_cast<int64_t>(request_.Length());
  std::optional<absl::StatusOr<ByteBudget::Grant>> grant = environment_.budget->Acquire(
      {.peer = pass_.peer(), .bytes = 2 * length, .deadline = DeadlineOf(context_, begun_)}, begun_,
      this);
  if (!grant) return Next::kWait;  // OnAnswer goes on, and may have been there already
  LOSSD_ASSIGN_OR_RETURN(grant_, *std::move(grant));
  const bool waits_for_nobody = length <= kInlineBytes || !environment_.executor->busy();
  return length <= kInlineUnaryBytes && waits_for_nobody ? Next::kHere : Next::kSubmitted;
}

void UnaryCall::OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) {
  if (!answer.ok()) {
    record_.Took(Phase::kQueue, std::chrono::steady_clock::now() - begun_);
    return Answer(answer.status());
  }
  grant_ = *std::move(answer);
  Submit();
}

void UnaryCall::Submit() {
  const auto length = static_cast<int64_t>(request_.Length());
  environment_.executor->Submit(
      this, {.share = pass_.share(), .bytes = length, .urgent = length <= kSmallCallBytes});
}

void UnaryCall::Run() {
  const Instant started = std::chrono::steady_clock::now();
  record_.Took(Phase::kQueue, started - begun_);
  const absl::StatusOr<grpc::ByteBuffer> answer = Guarded(
      [&] { return method_.handle(environment_, request_, grant_, record_, StopToken(&stop_)); });
  record_.Took(Phase::kCompute, std::chrono::steady_clock::now() - started);
  Answer(answer);
}

void UnaryCall::Answer(const absl::StatusOr<grpc::ByteBuffer>& answer) {
  request_.Clear();
  if (answer.ok()) record_.Sent(answer->Length());
  answered_ = std::chrono::steady_clock::now();
  CallTimes times(environment_.times, begun_);
  times.Writing(answered_, answer.ok() ? static_cast<int64_t>(answer->Length()) : 0);
  answering_.store(true, std::memory_order_relaxed);
  SetDue(times.due());
  absl::Status status = answer.status();
  if (absl::IsCancelled(status) && took_too_long_) status = TookTooLong(environment_.times);
  const grpc::Status concluded = Conclude(record_, status, *environment_.counters, context_);
  if (answer.ok()) {
    responder_.Finish(*answer, concluded, finish_event_.Tag());
  } else {
    responder_.FinishWithError(concluded, finish_event_.Tag());
  }
  Drop();
}

void UnaryCall::OnDue(Instant now) {
  if (answering_.load(std::memory_order_relaxed)) {
    context_.TryCancel();  // nobody takes the answer
  } else {
    took_too_long_ = true;
    stop_.store(true, std::memory_order_relaxed);
  }
}

void UnaryCall::OnFinish(bool ok) {
  if (ok) record_.Took(Phase::kDownload, std::chrono::steady_clock::now() - answered_);
  Drop();
}

void UnaryCall::OnDone(bool ok) {
  if (context_.IsCancelled()) {
    stop_.store(true, std::memory_order_relaxed);
    if (environment_.budget->Withdraw(this, std::chrono::steady_clock::now())) {
      Answer(absl::CancelledError("the call was broken off"));
    }
    broken_off_ = true;
  }
  Drop();
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

}  // namespace lossd
