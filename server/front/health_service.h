#ifndef LOSSD_SERVER_FRONT_HEALTH_SERVICE_H_
#define LOSSD_SERVER_FRONT_HEALTH_SERVICE_H_

#include <grpcpp/completion_queue.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <mutex>
#include <set>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

namespace lossd {

class HealthWatch;

// grpc.health.v1 on the server's completion queue, whose tags are Events. Not gRPC's own: that one
// brings the callback API's threads, which take the sockets' events from our pollers and hand them
// over (docs/adr/010-health-service.md). Thread-safe; outlives the queue's last event.
class HealthService {
 public:
  // At most this many Watch calls at once; more are RESOURCE_EXHAUSTED.
  static constexpr size_t kMaxWatches = 16384;

  void AddTo(grpc::ServerBuilder& builder) { builder.RegisterService(&service_); }

  // Once the server is built: from here on calls are answered, NOT_SERVING at first.
  void Serve(grpc::ServerCompletionQueue* queue);

  // Of the server as a whole ("") and of LossService.
  void SetServing(bool serving);

 private:
  friend class HealthCheck;
  friend class HealthWatch;
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;

  Status StatusOf(const std::string& service) const;  // SERVICE_UNKNOWN: not ours
  bool Join(HealthWatch* watch);
  void Leave(HealthWatch* watch);

  grpc::health::v1::Health::AsyncService service_;
  std::atomic<bool> serving_{false};
  std::mutex mutex_;  // of watches_; taken before a watch's own
  std::set<HealthWatch*> watches_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_HEALTH_SERVICE_H_
