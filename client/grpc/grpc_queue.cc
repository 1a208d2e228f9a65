#include "client/grpc/grpc_queue.h"

#include <grpcpp/alarm.h>

namespace lossd {
namespace {

// An alarm that goes off at once.
class WakeEvent : public GrpcEvent {
 public:
  explicit WakeEvent(grpc::CompletionQueue* queue) {
    alarm_.Set(queue, gpr_time_0(GPR_CLOCK_MONOTONIC), this);
  }
  void Run(bool) override { delete this; }

 private:
  grpc::Alarm alarm_;
};

}  // namespace

GrpcQueue::~GrpcQueue() {
  completions_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (completions_.Next(&tag, &ok)) static_cast<GrpcEvent*>(tag)->Run(ok);
}

bool GrpcQueue::RunOne(absl::Time until) {
  void* tag = nullptr;
  bool ok = false;
  if (completions_.AsyncNext(&tag, &ok, absl::ToChronoTime(until)) !=
      grpc::CompletionQueue::GOT_EVENT) {
    return false;
  }
  static_cast<GrpcEvent*>(tag)->Run(ok);
  return true;
}

// Deletes itself when it has come back, which it does also while the queue is shut down.
void GrpcQueue::Wake() { new WakeEvent(&completions_); }

}  // namespace lossd
