#ifndef LOSSD_SERVER_CONTROL_HEALTH_SERVER_H_
#define LOSSD_SERVER_CONTROL_HEALTH_SERVER_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "server/admission/call_caps.h"
#include "server/admission/connection_account.h"
#include "server/admission/counters.h"
#include "server/admission/watch.h"
#include "server/calls/ticker.h"
#include "server/control/control_service.h"
#include "server/control/health_state.h"
#include "server/listen/accept_loop.h"
#include "server/listen/listen_socket.h"

namespace lossd {

// A gRPC server with grpc.health.v1 and nothing else, for probes: it shares neither connections nor
// memory quota with the server whose health it tells, so it answers when that one is full. Not
// encrypted, as probes are not; its few connections and calls are capped, and a message is small.
class HealthServer {
 public:
  static absl::StatusOr<std::unique_ptr<HealthServer>> Start(std::vector<ListenSocket> sockets);
  ~HealthServer();
  HealthServer(const HealthServer&) = delete;
  HealthServer& operator=(const HealthServer&) = delete;

  void SetServing(bool serving) { health_.SetServing(serving); }

 private:
  HealthServer();

  AdmissionCounters counters_;
  Ledger ledger_;
  CallCaps caps_;
  Watch watch_;
  Ticker ticker_{&watch_, /*budget=*/nullptr};
  HealthState health_;
  ControlService control_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<AcceptLoop> accept_loop_;
  std::thread poller_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CONTROL_HEALTH_SERVER_H_
