#include "server/calls/loss_call.h"

#include <chrono>
#include <utility>

#include "lossd/status_macros.h"
#include "server/calls/accept.h"
#include "server/calls/answer.h"
#include "server/calls/entry.h"

namespace lossd {

LossCall::LossCall(const Environment& environment, Method method, MessageGate* gate)
    : environment_(environment),
      record_(environment.log, environment.audit, environment.metrics, method),
      method_(method),
      gate_(gate) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

void LossCall::OnRequest(bool ok) {
  if (!ok) {  // the server is shutting down; the other events of a call that never began do not
              // come
    CallCount* const calls = environment_.calls;
    delete this;
    return calls->NeverBegan();
  }
  Accept(environment_, method_);
  environment_.calls->Began();
  begun_ = std::chrono::steady_clock::now();
  times_.emplace(environment_.times, begun_);
  environment_.ticker->Add(this);
  Start();
}

void LossCall::OnDone(bool ok) {
  if (context_.IsCancelled()) {
    OnBrokenOff();
    if (environment_.budget->Withdraw(this, std::chrono::steady_clock::now()) ||
        gate_->Withdraw(this)) {
      OnWithdrawn();
    }
  }
  Drop();
}

void LossCall::Drop() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  environment_.ticker->Remove(this);
  const Environment& environment = environment_;
  delete this;
  AcceptPutOff(environment);
  environment.calls->Ended();
}

absl::Status LossCall::LetIn() {
  record_.Began(context_, begun_);
  LOSSD_ASSIGN_OR_RETURN(std::string caller, Enter(*environment_.caps, environment_.authenticator,
                                                   context_, begun_, pass_));
  record_.CalledBy(std::move(caller));
  connection_ = context_.peer();
  return absl::OkStatus();
}

std::optional<absl::StatusOr<ByteBudget::Grant>> LossCall::AskForMemory(int64_t bytes,
                                                                        Instant now) {
  return environment_.budget->Acquire(
      {.peer = pass_.peer(), .bytes = bytes, .deadline = DeadlineOf(context_, now)}, now, this);
}

void LossCall::ReadingSince(Instant now, int64_t at_most) {
  reading_since_ = now;
  received_before_ = Received();
  times_->Reading(now, at_most, received_before_);
}

std::optional<int64_t> LossCall::Received() const {
  return environment_.arrivals == nullptr ? std::nullopt
                                          : environment_.arrivals->BytesReceived(connection_);
}

void LossCall::LookAtUpload(Instant now) {
  const Arrivals* const arrivals = environment_.arrivals;
  if (arrivals != nullptr && arrivals->BytesWait(connection_)) times_->Excuse(now);
  times_->Look(now, Received());
}

bool LossCall::BroughtMoreThan(int64_t most) const {
  if (!received_before_ || !pass_.Overrun()) return false;
  return Received().value_or(0) - *received_before_ > most;
}

grpc::Status LossCall::Concluded(const absl::Status& status) {
  return Conclude(record_, status, *environment_.counters, context_);
}

}  // namespace lossd
