#ifndef LOSSD_SERVER_METRICS_METRICS_SERVER_H_
#define LOSSD_SERVER_METRICS_METRICS_SERVER_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/front/listen_socket.h"

struct MHD_Daemon;

namespace prometheus {
class Collectable;
}

namespace lossd {

// Serves metrics over plain HTTP/1.1, as /metrics in Prometheus's text format, and nothing else.
// One thread for each socket; few connections, each with little memory and little patience, so that
// nobody who connects and says nothing keeps others from reading. (docs/adr/012)
class MetricsServer {
 public:
  // `metrics` outlives it. kUnavailable if the system has no thread or descriptor for it.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      std::vector<ListenSocket> sockets, const prometheus::Collectable* metrics);

  // Breaks off what is being read.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

 private:
  explicit MetricsServer(std::vector<ListenSocket> sockets) : sockets_(std::move(sockets)) {}

  std::vector<ListenSocket> sockets_;
  std::vector<MHD_Daemon*> daemons_;  // one for each
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_METRICS_SERVER_H_
