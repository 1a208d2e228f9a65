#ifndef LOSSD_CLIENT_GRPC_GRPC_QUEUE_H_
#define LOSSD_CLIENT_GRPC_GRPC_QUEUE_H_

#include <grpcpp/completion_queue.h>

#include "absl/time/time.h"
#include "client/transport/transport.h"

namespace lossd {

// What is put on a completion queue: Run is called when it comes back.
class GrpcEvent {
 public:
  virtual ~GrpcEvent() = default;
  virtual void Run(bool ok) = 0;
};

class GrpcQueue : public EventQueue {
 public:
  // Precondition: no call is under way.
  ~GrpcQueue() override;

  bool RunOne(absl::Time until) override;
  void Wake() override;

  grpc::CompletionQueue* completions() { return &completions_; }

 private:
  grpc::CompletionQueue completions_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_QUEUE_H_
