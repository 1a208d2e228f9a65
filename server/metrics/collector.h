#ifndef LOSSD_SERVER_METRICS_COLLECTOR_H_
#define LOSSD_SERVER_METRICS_COLLECTOR_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/admission/refusal.h"
#include "server/listen/connection_refusal.h"
#include "server/metrics/call_metrics.h"

namespace lossd {

// What is not counted call by call, but looked at when metrics are read.
struct ServerState {
  int64_t calls = 0;   // begun and not ended
  int64_t queued = 0;  // that wait for memory
  std::array<int64_t, kRefusals> rejected{};
  int64_t budget_bytes = 0;
  int64_t granted_bytes = 0;
  int64_t loaned_output_bytes = 0;
  int64_t idle_output_bytes = 0;
  int64_t shared_regions = 0;
  int64_t shared_bytes = 0;
  int64_t connections = 0;
  int64_t max_connections = 0;
  std::array<int64_t, kConnectionRefusals> refused_connections{};
  int64_t threads = 0;
  std::string version;
  std::string simd_target;
};

// All metrics of a server, as docs/metrics.md lists them.
class Collector final : public prometheus::Collectable {
 public:
  // `state` is called from any thread, some of them at once. `calls` outlives this.
  Collector(const CallMetrics* calls, std::function<ServerState()> state)
      : calls_(calls), state_(std::move(state)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const CallMetrics* calls_;
  std::function<ServerState()> state_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_COLLECTOR_H_
