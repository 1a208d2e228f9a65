#ifndef LOSSD_SERVER_CALLS_UNARY_CALL_H_
#define LOSSD_SERVER_CALLS_UNARY_CALL_H_

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "server/admission/byte_budget.h"
#include "server/admission/message_gate.h"
#include "server/calls/call_record.h"
#include "server/calls/environment.h"
#include "server/calls/event.h"
#include "server/calls/loss_call.h"

namespace lossd {

// A unary method, and what it answers.
struct UnaryMethod {
  Method method;
  // `grant` is for twice the size of the request; extended for more.
  absl::StatusOr<grpc::ByteBuffer> (*handle)(const Environment& environment,
                                             const grpc::ByteBuffer& request,
                                             ByteBudget::Grant& grant, CallRecord& record,
                                             StopToken stop);
  // How many bytes a request has beside its message; never asked if the server shares no memory.
  int64_t (*beside)(const grpc::ByteBuffer& request);
  // Whether a polling thread may handle a request of more than kInlineBytes.
  bool (*is_quick)(const grpc::ByteBuffer& request);
};

// One call of a unary method, from waiting for it to the last event about it.
//
// Its message is read once there is room for it: for one whose size the client tells beforehand
// (wire::kMessageBytesKey), once the budget has granted that, for any other once it has a place at
// the gate, which it keeps until the budget has granted what then came.
class UnaryCall final : private LossCall {
 public:
  // Waits for a call of `method`; when one comes, the next is waited for. Both arguments outlive
  // the server's completion queue. False: there is no memory for it.
  static bool Accept(const Environment& environment, const UnaryMethod& method);

  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

 private:
  UnaryCall(const Environment& environment, const UnaryMethod& method)
      : LossCall(environment, method.method, environment.gate), method_(method) {}
  ~UnaryCall() override;

  void Request(void* tag) override;
  void Start() override;
  void OnBrokenOff() override;
  void OnWithdrawn() override;
  void OnRead(bool ok);
  void OnFinish(bool ok);
  void OnPlace(MessageGate::Place place) override;
  void OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) override;
  void OnDue(Instant now) override;
  void OnWanted(Instant now) override;

  // How far the call is. Where two threads may go on at once, the one that changes it does.
  enum class Stage : int8_t { kBegun, kReading, kRead, kAnswering };
  enum class Next : int8_t { kWait, kRead, kRun, kSubmit };

  // The steps of a call that was let in; each ends in the next or in Answer. After a step the call
  // may be gone, and its caller must not use it any more.
  void GoOn(const absl::StatusOr<Next>& next);
  absl::StatusOr<Next> Begin();
  void Read();
  absl::StatusOr<Next> Admit(bool ok);
  Next HowToRun();
  void Submit();
  void Run() override;
  void Answer(const absl::StatusOr<grpc::ByteBuffer>& answer);

  // Ends a call that is being read, whose memory and place go to others.
  void GiveUp(const absl::Status& why);
  Instant NextLook(Instant now);  // at the message that is on its way

  // Asks for memory: kWait where OnAnswer goes on, which may have been there already.
  absl::StatusOr<Next> Acquire(int64_t bytes, Instant now, Next then);

  const UnaryMethod& method_;
  grpc::ByteBuffer request_;
  RawLossService::UnaryReader reader_{&context_};
  int64_t to_compute_ = 0;       // bytes, wherever they are
  std::optional<int64_t> told_;  // the size of the message, by the client
  Instant looks_at_;
  Instant answered_;
  std::atomic<Stage> stage_{Stage::kBegun};
  std::atomic<bool> took_too_long_{false};
  std::atomic<bool> broken_off_{false};

  MemberEvent<UnaryCall> read_event_{this, &UnaryCall::OnRead};
  MemberEvent<UnaryCall> finish_event_{this, &UnaryCall::OnFinish};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_UNARY_CALL_H_
