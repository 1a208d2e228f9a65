#ifndef LOSSD_SERVER_CALLS_UNARY_CALL_H_
#define LOSSD_SERVER_CALLS_UNARY_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "server/admission/byte_budget.h"
#include "server/admission/call_caps.h"
#include "server/admission/watch.h"
#include "server/calls/call_record.h"
#include "server/calls/environment.h"
#include "server/calls/event.h"

namespace lossd {

// A unary method: how it is asked for, and what it answers.
struct UnaryMethod {
  using Responder = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  Method method;
  void (RawLossService::*request)(grpc::ServerContext*, grpc::ByteBuffer*, Responder*,
                                  grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);
  // `grant` is for twice the size of the request; extended for more.
  absl::StatusOr<grpc::ByteBuffer> (*handle)(const Environment& environment,
                                             const grpc::ByteBuffer& request,
                                             ByteBudget::Grant& grant, CallRecord& record,
                                             StopToken stop);
};

// One call of a unary method, from waiting for it to the last event about it. Owns itself.
class UnaryCall final : private ByteBudget::Waiter, private Watched, private Task {
 public:
  // Waits for a call of `method`; when one comes, the next is waited for. Both arguments outlive
  // the server's completion queue. False: there is no memory for it.
  static bool Accept(const Environment& environment, const UnaryMethod& method);

  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

 private:
  UnaryCall(const Environment& environment, const UnaryMethod& method);
  ~UnaryCall() = default;

  void OnRequest(bool ok);
  void OnFinish(bool ok);
  void OnDone(bool ok);
  void OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) override;
  void OnDue(Instant now) override;

  enum class Next : int8_t { kWait, kHere, kSubmitted };

  // The way of a call that was let in; each step ends in the next or in Answer.
  absl::StatusOr<Next> Begin();
  void Submit();
  void Run() override;
  void Answer(const absl::StatusOr<grpc::ByteBuffer>& answer);

  void Drop();

  const Environment& environment_;
  const UnaryMethod& method_;
  grpc::ServerContext context_;
  CallRecord record_;
  grpc::ByteBuffer request_;
  UnaryMethod::Responder responder_{&context_};
  CallCaps::Pass pass_;
  ByteBudget::Grant grant_;
  Instant begun_;
  Instant answered_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> took_too_long_{false};
  std::atomic<bool> answering_{false};
  std::atomic<bool> broken_off_{false};
  std::atomic<int> references_{3};  // of Answer, OnFinish and OnDone, once the call has begun

  MemberEvent<UnaryCall> request_event_{this, &UnaryCall::OnRequest};
  MemberEvent<UnaryCall> finish_event_{this, &UnaryCall::OnFinish};
  MemberEvent<UnaryCall> done_event_{this, &UnaryCall::OnDone};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_UNARY_CALL_H_
