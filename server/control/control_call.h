#ifndef LOSSD_SERVER_CONTROL_CONTROL_CALL_H_
#define LOSSD_SERVER_CONTROL_CONTROL_CALL_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "server/admission/call_caps.h"
#include "server/admission/watch.h"
#include "server/calls/call_record.h"
#include "server/calls/event.h"
#include "server/control/control_method.h"
#include "server/control/control_service.h"

namespace lossd {

// One call that ControlService answers, from waiting for it to the last event about it. Owns
// itself: each outstanding operation holds a reference, and so does OnDone, which may come before
// any of them, on another thread.
class ControlCall final : private Watched {
 public:
  // Waits for a call; when one comes, the next is waited for. False: there is no memory for it.
  static bool Accept(ControlService& service);

  ControlCall(const ControlCall&) = delete;
  ControlCall& operator=(const ControlCall&) = delete;

 private:
  explicit ControlCall(ControlService& service);
  ~ControlCall() = default;

  void OnRequest(bool ok);
  void OnRead(bool ok);
  void OnWrite(bool ok);
  void OnFinish(bool ok) { Drop(); }
  void OnDone(bool ok);
  void OnDue(Instant now) override;
  void OnChange();

  bool IsWatch() const { return route_ != nullptr && route_->flow == ControlFlow::kWatch; }
  absl::Status Begin(Instant now);
  absl::Status HandleMessage();

  // With mutex_ held.
  void Read();
  void SendNext();
  void Send(grpc::ByteBuffer answer);
  void End(absl::Status status);
  void Finish(const absl::Status& status);
  grpc::Status Concluded(const absl::Status& status);

  void Hold() { references_.fetch_add(1, std::memory_order_relaxed); }
  void Drop();

  ControlService& service_;
  const ControlService::Parts& parts_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  std::atomic<int> references_{2};  // of OnRequest and OnDone, once the call has begun
  const ControlRoute* route_ = nullptr;
  std::unique_ptr<ControlMethod> method_;

  std::mutex mutex_;
  std::optional<CallRecord> record_;  // once the call has begun
  CallCaps::Pass pass_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  bool came_ = false;  // a message
  bool reading_ = false;
  bool writing_ = false;
  bool over_ = false;                   // the status was sent, or the call is dead
  bool given_up_ = false;               // on a peer that takes nothing
  std::optional<absl::Status> ending_;  // the status to send once what is written is taken

  MemberEvent<ControlCall> request_event_{this, &ControlCall::OnRequest};
  MemberEvent<ControlCall> read_event_{this, &ControlCall::OnRead};
  MemberEvent<ControlCall> write_event_{this, &ControlCall::OnWrite};
  MemberEvent<ControlCall> finish_event_{this, &ControlCall::OnFinish};
  MemberEvent<ControlCall> done_event_{this, &ControlCall::OnDone};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_CONTROL_CALL_H_
