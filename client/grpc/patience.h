#ifndef LOSSD_CLIENT_GRPC_PATIENCE_H_
#define LOSSD_CLIENT_GRPC_PATIENCE_H_

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "client/grpc/grpc_queue.h"

namespace lossd {

// Ends a call that waits for its server while another one is there. gRPC leaves a call with the
// channel it was begun on: with a server that takes the connection and then says nothing (its
// health not either), until the deadline.
class Patience : public GrpcEvent {
 public:
  enum class Prospect {
    kHere,       // the call is with its server
    kElsewhere,  // it is not, and another server is there
    kNowhere,    // no server is there
  };
  using Look = std::function<Prospect()>;

  // How long a call waits before it looks, and between looks.
  static constexpr absl::Duration kPatience = absl::Milliseconds(100);

  // For a call that is about to begin on the thread that runs `queue`; nullptr where it has no
  // reason to wait. `look` may be called as long as the queue lives.
  static std::shared_ptr<Patience> Of(grpc::ClientContext& context, GrpcQueue& queue, Look look);

  // The call is over; its context is not used any more.
  void Stop();

  // Whether the call was ended.
  bool ran_out() const { return ran_out_; }

  void Run(bool ok) override;

 private:
  Patience(grpc::ClientContext& context, GrpcQueue& queue, Look look)
      : context_(&context), queue_(queue), look_(std::move(look)) {}
  void Arm(std::shared_ptr<Patience> self);

  grpc::ClientContext* context_;  // nullptr: stopped
  GrpcQueue& queue_;
  const Look look_;
  std::shared_ptr<Patience> self_;  // while the alarm is set
  grpc::Alarm alarm_;
  bool ran_out_ = false;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_PATIENCE_H_
