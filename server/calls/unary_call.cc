#include "server/calls/unary_call.h"

#include "server/calls/answer.h"

namespace lossd {

void UnaryCall::Accept(const Environment& environment, const UnaryMethod& method) {
  environment.calls->Waiting();
  auto* const call = new UnaryCall(environment, method);
  (environment.service->*method.request)(&call->context_, &call->request_, &call->responder_,
                                         environment.queue, environment.queue,
                                         call->request_event_.Tag());
}

UnaryCall::UnaryCall(const Environment& environment, const UnaryMethod& method)
    : environment_(environment), method_(method), log_(environment.log, method.name) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

void UnaryCall::OnRequest(bool ok) {
  if (!ok) {  // the server is shutting down; the other events of a call that never began do not
              // come
    CallCount* const calls = environment_.calls;
    delete this;
    return calls->NeverBegan();
  }
  Accept(environment_, method_);
  environment_.calls->Began();
  log_.Began(context_);
  log_.Received(request_.Length());
  if (const absl::Status may = environment_.authenticator->Authenticate(context_); !may.ok()) {
    responder_.FinishWithError(Concluded(may), finish_event_.Tag());
    return Drop();
  }
  if (static_cast<int64_t>(request_.Length()) <= kInlineBytes) {
    Work();
  } else {
    environment_.executor->Submit([this] { Work(); });
  }
}

void UnaryCall::Work() {
  const absl::StatusOr<grpc::ByteBuffer> answer =
      Guarded([&] { return method_.handle(environment_, request_, StopToken(&stop_)); });
  request_.Clear();
  if (answer.ok()) log_.Sent(answer->Length());
  const grpc::Status status = Concluded(answer.status());
  if (answer.ok()) {
    responder_.Finish(*answer, status, finish_event_.Tag());
  } else {
    responder_.FinishWithError(status, finish_event_.Tag());
  }
  Drop();
}

grpc::Status UnaryCall::Concluded(const absl::Status& status) {
  return Conclude(log_, status, *environment_.counters, context_);
}

void UnaryCall::OnFinish(bool ok) { Drop(); }

void UnaryCall::OnDone(bool ok) {
  if (context_.IsCancelled()) stop_.store(true, std::memory_order_relaxed);
  Drop();
}

void UnaryCall::Drop() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  CallCount* const calls = environment_.calls;
  delete this;
  calls->Ended();
}

}  // namespace lossd
