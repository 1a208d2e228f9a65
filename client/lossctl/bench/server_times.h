#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_SERVER_TIMES_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_SERVER_TIMES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/lossctl/bench/metrics_page.h"

// How servers spend the time of calls, by their metrics (docs/metrics.md).

namespace lossd::lossctl {

// The parts of a call's time; a stream's may overlap.
struct ServerPhase {
  const char* name;
  const char* metric;
};
inline constexpr ServerPhase kServerPhases[] = {
    {"queue", "lossd_request_queue_seconds"},     {"upload", "lossd_request_upload_seconds"},
    {"compute", "lossd_request_compute_seconds"}, {"download", "lossd_request_download_seconds"},
    {"whole", "lossd_request_duration_seconds"},
};
inline constexpr size_t kWholePhase = std::size(kServerPhases) - 1;

// A histogram as Prometheus has it.
struct BucketedTimes {
  std::map<double, int64_t> up_to;  // seconds -> calls that took no longer; infinity: all
  double seconds = 0;               // of all together

  int64_t calls() const { return up_to.empty() ? 0 : up_to.rbegin()->second; }

  // Preconditions below: calls() > 0.
  absl::Duration mean() const;
  // An estimate, as Prometheus' histogram_quantile: even within a bucket; the last finite bound for
  // what is above it. Precondition: 0 < share <= 1.
  absl::Duration Quantile(double share) const;
};

// Of the calls of Compute and ComputeStream that ended in some time, by kServerPhases. A call is in
// a phase only if it got that far.
struct ServerTimes {
  std::array<BucketedTimes, std::size(kServerPhases)> phases;
  int64_t calls() const { return phases[kWholePhase].calls(); }
};

// What servers' metrics say between two moments.
class ServerWatch {
 public:
  struct World {
    std::function<absl::StatusOr<std::string>(const MetricsAddress&)> read;
    std::function<void(absl::Duration)> sleep;
  };
  static World RealWorld();

  ServerWatch(std::vector<MetricsAddress> servers, World world)
      : servers_(std::move(servers)), world_(std::move(world)) {}

  // Errors of both: `read`'s, and kFailedPrecondition for a page that is no lossd's. A server that
  // counts a call a moment after it has answered it is waited for, a second at most: others may
  // call it all the time.
  absl::Status Begin();

  // Since Begin, of all servers together; calls of others included. kFailedPrecondition where a
  // server was started again in between.
  absl::StatusOr<ServerTimes> End() const;

 private:
  struct Counts {
    double started = 0;  // seconds since 1970
    bool idle = false;
    ServerTimes times;
  };
  static absl::StatusOr<Counts> CountsOf(const std::string& page);
  absl::StatusOr<Counts> Settled(const MetricsAddress& server) const;

  std::vector<MetricsAddress> servers_;
  World world_;
  std::vector<Counts> before_;  // by server
};

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_SERVER_TIMES_H_
