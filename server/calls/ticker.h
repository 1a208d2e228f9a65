#ifndef LOSSD_SERVER_CALLS_TICKER_H_
#define LOSSD_SERVER_CALLS_TICKER_H_

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <initializer_list>
#include <mutex>
#include <vector>

#include "server/admission/byte_budget.h"
#include "server/admission/message_gate.h"
#include "server/admission/watch.h"
#include "server/calls/event.h"

namespace lossd {

// Ticks for the watch, the budget (null: there is none) and the gates, on the completion queue,
// while there are calls.
class Ticker final : public Event {
 public:
  Ticker(Watch* watch, ByteBudget* budget, std::initializer_list<MessageGate*> gates = {})
      : watch_(watch), budget_(budget), gates_(gates) {}

  // Before the first call.
  void Start(grpc::CompletionQueue* queue) { queue_ = queue; }

  // Each call is watched from its beginning to its end.
  void Add(Watched* call) {
    if (watch_->Add(call)) Arm();
  }
  void Remove(Watched* call) { watch_->Remove(call); }

  // Once there are no more calls, and before the queue shuts down; the queue delivers the last
  // tick. It is not cancelled: whether gRPC 1.51 may cancel an alarm that is just going off is not
  // known to us (a race there is suspected, not shown), and a tick is soon over.
  void Stop();

 private:
  void Run(bool ok) override;
  bool SomethingIsWanted() const;
  bool Tick(Instant now);  // false: no call is left
  void Arm();

  Watch* watch_;
  ByteBudget* budget_;
  std::vector<MessageGate*> gates_;
  grpc::CompletionQueue* queue_ = nullptr;
  std::mutex mutex_;
  bool stopped_ = false;
  grpc::Alarm alarm_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_TICKER_H_
