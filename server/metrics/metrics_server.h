#ifndef LOSSD_SERVER_METRICS_METRICS_SERVER_H_
#define LOSSD_SERVER_METRICS_METRICS_SERVER_H_

#include <chrono>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/listen/listen_socket.h"
#include "server/metrics/few_connections.h"

namespace prometheus {
class Collectable;
}

namespace lossd {

// Serves metrics over plain HTTP/1.1, as /metrics in Prometheus's text format, and nothing else:
// one request a connection, which has few bytes and little time for all of it. Two threads: one
// takes connections, one answers. A connection that comes is taken, and the oldest gives way where
// there are too many, of its address or of all, so that connections which say little do not keep
// others from reading. (docs/adr/012)
class MetricsServer {
 public:
  // Scrapers come one at a time, every few seconds, and take milliseconds.
  static constexpr FewConnections::Limits kLimits = {
      .all = 64, .of_address = 8, .time = std::chrono::seconds(5)};

  // `metrics` outlives it. kUnavailable if the system has no thread or descriptor for it.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      std::vector<ListenSocket> sockets, const prometheus::Collectable* metrics,
      const FewConnections::Limits& limits = kLimits);

  // Breaks off what is being read.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

 private:
  class Door;
  explicit MetricsServer(std::unique_ptr<Door> door);

  const std::unique_ptr<Door> door_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_METRICS_SERVER_H_
