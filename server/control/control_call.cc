#include "server/control/control_call.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/types/printable.h"
#include "lossd/status_macros.h"
#include "server/calls/answer.h"
#include "server/calls/entry.h"
#include "server/control/health_methods.h"
#include "server/control/reflection_method.h"

namespace lossd {
namespace {

// Health may be asked without a token: the answer tells whether the server serves, and the health
// checks of balancers and channels have no way to bring one.
constexpr ControlRoute kRoutes[] = {
    {.path = "/grpc.health.v1.Health/Check",
     .method = Method::kHealthCheck,
     .flow = ControlFlow::kOneAnswer,
     .needs_token = false,
     .max_message_bytes = 1 << 10,
     .make = &MakeHealthCheck},
    {.path = "/grpc.health.v1.Health/Watch",
     .method = Method::kHealthWatch,
     .flow = ControlFlow::kWatch,
     .needs_token = false,
     .max_message_bytes = 1 << 10,
     .make = &MakeHealthWatch},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     .method = Method::kReflection,
     .flow = ControlFlow::kConversation,
     .needs_token = true,
     .max_message_bytes = 4 << 10,
     .make = &MakeReflection},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .method = Method::kReflection,
     .flow = ControlFlow::kConversation,
     .needs_token = true,
     .max_message_bytes = 4 << 10,
     .make = &MakeReflection},
};

// nullptr: there is no such method. Only the whole path counts, as for the methods of LossService.
const ControlRoute* RouteOf(std::string_view path, bool reflection) {
  const auto* const route = std::find_if(std::begin(kRoutes), std::end(kRoutes),
                                         [&](const ControlRoute& row) { return row.path == path; });
  if (route == std::end(kRoutes)) return nullptr;
  return route->method == Method::kReflection && !reflection ? nullptr : route;
}

absl::Status Unknown(const std::string& path) {
  return absl::UnimplementedError(
      absl::StrCat("this server has no method ", Printable(path),
                   "; it is lossd " LOSSD_VERSION
                   " and has those of lossd.v1.LossService and grpc.health.v1.Health"));
}

}  // namespace

bool ControlCall::Accept(ControlService& service) {
  service.calls_.Waiting();
  ControlCall* call = nullptr;
  try {
    call = new ControlCall(service);
    service.service_.RequestCall(&call->context_, &call->stream_, service.queue_, service.queue_,
                                 call->request_event_.Tag());
  } catch (const std::bad_alloc&) {
    delete call;
    service.calls_.NeverBegan();
    return false;
  }
  return true;
}

ControlCall::ControlCall(ControlService& service) : service_(service), parts_(service.parts_) {
  context_.AsyncNotifyWhenDone(done_event_.Tag());
}

void ControlCall::Drop() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  parts_.ticker->Remove(this);
  method_.reset();  // from here on no change is told; one that is being told finds the call over
  ControlService& service = service_;
  const bool watch = IsWatch();
  delete this;
  service.AcceptPutOff();
  if (watch) --service.watches_;
  service.calls_.Ended();
}

// ------------------------------------------------------------------------------------- events

void ControlCall::OnRequest(bool ok) {
  if (!ok) {  // the server is shutting down; no other event of this call comes
    ControlService& service = service_;
    delete this;
    return service.calls_.NeverBegan();
  }
  service_.Accept();
  service_.calls_.Began();
  route_ = RouteOf(context_.method(), parts_.reflection);
  if (IsWatch()) ++service_.watches_;
  parts_.ticker->Add(this);
  absl::Status begun = Guarded([this] { return Begin(std::chrono::steady_clock::now()); });
  {
    const std::lock_guard lock(mutex_);
    if (begun.ok()) {
      Read();
    } else {
      End(std::move(begun));
    }
  }
  Drop();
}

absl::Status ControlCall::Begin(Instant now) {
  record_.emplace(parts_.log, parts_.audit, parts_.metrics,
                  route_ == nullptr ? Method::kUnknown : route_->method);
  record_->Began(context_, now);
  const bool open = route_ != nullptr && !route_->needs_token;
  LOSSD_ASSIGN_OR_RETURN(
      std::string caller,
      Enter(*parts_.caps, open ? nullptr : parts_.authenticator, context_, now, pass_));
  record_->CalledBy(std::move(caller));
  if (route_ == nullptr) return Unknown(context_.method());
  method_ = route_->make(*parts_.health, [this] { OnChange(); });
  return absl::OkStatus();
}

void ControlCall::OnRead(bool ok) {
  absl::Status handled;
  if (ok) handled = Guarded([this] { return HandleMessage(); });
  {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    record_->Received(ok ? incoming_.Length() : 0);
    incoming_.Clear();
    if (!handled.ok()) {
      End(std::move(handled));
    } else if (ok) {
      came_ = true;
      SetDue(Instant::max());
      SendNext();
    } else {  // the caller sends no more; only a conversation gets here after a message
      End(came_ ? absl::OkStatus() : absl::InvalidArgumentError("the call ends without a message"));
    }
  }
  Drop();
}

absl::Status ControlCall::HandleMessage() {
  const auto length = static_cast<int64_t>(incoming_.Length());
  if (length > route_->max_message_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the message is %d bytes; this method takes at most %d", length,
                        route_->max_message_bytes));
  }
  return method_->OnMessage(incoming_);
}

void ControlCall::OnWrite(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    SetDue(Instant::max());
    if (!ok) {
      over_ = true;
    } else if (ending_) {
      Finish(*ending_);
    } else {
      SendNext();
    }
  }
  Drop();
}

void ControlCall::OnDone(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    // A client that does not wait for the answer has begun the call for nothing.
    if (context_.IsCancelled() && !came_) pass_.BrokenOff();
  }
  Drop();
}

void ControlCall::OnChange() {
  const std::lock_guard lock(mutex_);
  SendNext();
}

void ControlCall::OnDue(Instant now) {
  const std::lock_guard lock(mutex_);
  if (reading_ && !over_ && !writing_ && !ending_) {
    return End(Refuse(Refusal::kStalled, "the message did not come for too long"));
  }
  if (!std::exchange(given_up_, true)) context_.TryCancel();  // the client takes nothing
}

// ------------------------------------------------------------------------------------- operations

void ControlCall::Read() {
  if (over_) return;
  reading_ = true;
  // A tool that has begun a conversation may think between its questions.
  SetDue(std::chrono::steady_clock::now() + (came_ ? parts_.times.call : parts_.times.header));
  Hold();
  stream_.Read(&incoming_, read_event_.Tag());
}

void ControlCall::SendNext() {
  if (over_ || writing_ || ending_) return;
  absl::StatusOr<std::optional<grpc::ByteBuffer>> next =
      Guarded([this] { return method_->NextAnswer(); });
  if (!next.ok()) return End(next.status());
  if (*next) return Send(**std::move(next));
  if (route_->flow == ControlFlow::kConversation && !reading_) Read();
}

void ControlCall::Send(grpc::ByteBuffer answer) {
  outgoing_.Swap(&answer);
  record_->Sent(outgoing_.Length());
  SetDue(std::chrono::steady_clock::now() + parts_.times.download);
  Hold();
  if (route_->flow == ControlFlow::kOneAnswer) {
    over_ = true;
    stream_.WriteAndFinish(outgoing_, grpc::WriteOptions(), Concluded(absl::OkStatus()),
                           finish_event_.Tag());
  } else {
    writing_ = true;
    stream_.Write(outgoing_, write_event_.Tag());
  }
}

void ControlCall::End(absl::Status status) {
  if (over_ || ending_) return;
  ending_ = std::move(status);
  if (!writing_) Finish(*ending_);
}

void ControlCall::Finish(const absl::Status& status) {
  if (over_) return;
  over_ = true;
  SetDue(std::chrono::steady_clock::now() + parts_.times.download);
  Hold();
  stream_.Finish(Concluded(status), finish_event_.Tag());
}

grpc::Status ControlCall::Concluded(const absl::Status& status) {
  return Conclude(*record_, status, *parts_.counters, context_);
}

}  // namespace lossd
