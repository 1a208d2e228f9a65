#ifndef LOSSD_SERVER_CALLS_LOSS_CALL_H_
#define LOSSD_SERVER_CALLS_LOSS_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <cstdint>
#include <new>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "server/admission/byte_budget.h"
#include "server/admission/call_caps.h"
#include "server/admission/call_times.h"
#include "server/admission/instant.h"
#include "server/admission/message_gate.h"
#include "server/admission/method.h"
#include "server/admission/watch.h"
#include "server/calls/call_record.h"
#include "server/calls/environment.h"
#include "server/calls/event.h"

namespace lossd {

// What unary calls and streams of LossService share: how a call is waited for and let in, what it
// holds, and how it ends. A call owns itself. Every outstanding event and every task of the
// executor holds a reference; the last one to be dropped ends it.
class LossCall : protected ByteBudget::Waiter,
                 protected MessageGate::Waiter,
                 protected Watched,
                 protected Task {
 public:
  LossCall(const LossCall&) = delete;
  LossCall& operator=(const LossCall&) = delete;

 protected:
  // Messages of the call are read in places of `gate`. Both outlive the call.
  LossCall(const Environment& environment, Method method, MessageGate* gate);
  virtual ~LossCall() = default;

  // Makes a call by `make` and waits for a client to begin it. False: there is no memory for it.
  template <class Make>
  static bool WaitFor(const Environment& environment, Make make);

  // Asks gRPC for a call; its queue returns `tag` when a client has begun it.
  virtual void Request(void* tag) = 0;
  // A client has begun the call, at begun_. Start owns one of the two references that the call has
  // now; the event of its end owns the other, and may come first, on another thread.
  virtual void Start() = 0;
  // The client has gone without the status.
  virtual void OnBrokenOff() = 0;
  // The call waited for memory or a place when its client went: neither OnAnswer nor OnPlace comes
  // any more, and the reference that was theirs is to be dropped.
  virtual void OnWithdrawn() = 0;

  // Counts the call, authenticates its caller, and puts both on record.
  absl::Status LetIn();

  // Asks for memory. nullopt: OnAnswer brings the outcome, and may have been called already.
  std::optional<absl::StatusOr<ByteBudget::Grant>> AskForMemory(int64_t bytes, Instant now);

  // The call asks for a message of at most `at_most` bytes at `now`.
  void ReadingSince(Instant now, int64_t at_most);
  // The bytes that the connection has brought so far; nullopt: they are not counted.
  std::optional<int64_t> Received() const;
  // The call still waits for that message; bytes that lie unread in this machine are not its
  // silence.
  void LookAtUpload(Instant now);
  // gRPC shows a message when it has all come. True: what came since ReadingSince is more than
  // `most`, so that the call has to be refused before its connection is broken for it.
  bool BroughtMoreThan(int64_t most) const;

  // Ends the call with `status`: records it, counts it, and sets the trailers. Once.
  grpc::Status Concluded(const absl::Status& status);

  void Hold() { references_.fetch_add(1, std::memory_order_relaxed); }
  void Drop();

  const Environment& environment_;
  grpc::ServerContext context_;
  CallRecord record_;
  CallCaps::Pass pass_;
  ByteBudget::Grant grant_;
  MessageGate::Place place_;
  std::optional<CallTimes> times_;  // once the call has begun
  Instant begun_;
  Instant waiting_since_;  // for a place or for memory
  Instant reading_since_;
  std::atomic<bool> stop_{false};  // the result is not wanted any more

 private:
  void OnRequest(bool ok);
  void OnDone(bool ok);

  const Method method_;
  MessageGate* const gate_;
  std::string connection_;
  std::optional<int64_t> received_before_;  // over the connection, when reading began
  std::atomic<int> references_{2};

  MemberEvent<LossCall> request_event_{this, &LossCall::OnRequest};
  MemberEvent<LossCall> done_event_{this, &LossCall::OnDone};
};

template <class Make>
bool LossCall::WaitFor(const Environment& environment, Make make) {
  environment.calls->Waiting();
  LossCall* call = nullptr;
  try {
    call = make();
    call->Request(call->request_event_.Tag());
  } catch (const std::bad_alloc&) {
    delete call;
    environment.calls->NeverBegan();
    return false;
  }
  return true;
}

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_LOSS_CALL_H_
