#include "server/metrics/collector.h"

#include <prometheus/metric_type.h>

#include <iterator>
#include <optional>

#include "server/metrics/family.h"
#include "server/metrics/process_state.h"

namespace lossd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Gauge(std::string name, std::string help, double value) {
  MetricFamily family = NewFamily(std::move(name), std::move(help), MetricType::Gauge);
  AddGauge(family, {}, value);
  return family;
}

MetricFamily Gauge(std::string name, std::string help, int64_t value) {
  return Gauge(std::move(name), std::move(help), static_cast<double>(value));
}

void AddServer(const ServerState& state, std::vector<MetricFamily>& families) {
  families.push_back(
      Gauge("lossd_requests_in_flight", "Calls that have begun and not ended.", state.calls));
  families.push_back(Gauge("lossd_requests_queued", "Calls that wait for memory.", state.queued));
  MetricFamily rejected =
      NewFamily("lossd_requests_rejected_total",
                "Calls that the server turned away or ended, by the reason in trailer loss-reason.",
                MetricType::Counter);
  for (size_t i = 0; i < state.rejected.size(); ++i) {
    AddCounter(rejected, {{"reason", std::string(TokenOf(static_cast<Refusal>(i)))}},
               static_cast<double>(state.rejected[i]));
  }
  families.push_back(std::move(rejected));
  families.push_back(Gauge("lossd_memory_budget_bytes", "Memory that calls may hold together.",
                           state.budget_bytes));
  families.push_back(
      Gauge("lossd_memory_granted_bytes", "Memory that calls hold.", state.granted_bytes));
  MetricFamily pool =
      NewFamily("lossd_output_pool_bytes", "Memory of outputs: in use, and kept for the next.",
                MetricType::Gauge);
  AddGauge(pool, {{"state", "loaned"}}, static_cast<double>(state.loaned_output_bytes));
  AddGauge(pool, {{"state", "idle"}}, static_cast<double>(state.idle_output_bytes));
  families.push_back(std::move(pool));
  families.push_back(
      Gauge("lossd_shared_regions", "Regions of memory that clients share.", state.shared_regions));
  families.push_back(
      Gauge("lossd_shared_region_bytes", "Memory in these regions.", state.shared_bytes));
  families.push_back(Gauge("lossd_connections", "Connections that are open.", state.connections));
  families.push_back(Gauge("lossd_connections_limit", "Connections that may be open at once.",
                           state.max_connections));
  MetricFamily refused =
      NewFamily("lossd_connections_rejected_total", "Connections that the server refused or ended.",
                MetricType::Counter);
  for (size_t i = 0; i < kConnectionRefusals; ++i) {
    AddCounter(refused, {{"reason", std::string(kConnectionRefusalNames[i])}},
               static_cast<double>(state.refused_connections[i]));
  }
  families.push_back(std::move(refused));
  families.push_back(Gauge("lossd_compute_threads", "Threads that compute.", state.threads));
  MetricFamily build =
      NewFamily("lossd_build_info", "What is running; always 1.", MetricType::Gauge);
  AddGauge(build, {{"version", state.version}, {"simd_target", state.simd_target}}, 1);
  families.push_back(std::move(build));
}

// Under the names that Prometheus gives them in every language.
void AddProcess(std::vector<MetricFamily>& families) {
  if (const std::optional<ProcessState> state = ReadProcessState()) {
    families.push_back(Gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
                             state->resident_bytes));
    families.push_back(Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
                             state->virtual_bytes));
    families.push_back(Gauge("process_start_time_seconds",
                             "Start time of the process since unix epoch in seconds.",
                             state->start_time));
  }
  MetricFamily cpu =
      NewFamily("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                MetricType::Counter);
  AddCounter(cpu, {}, CpuSeconds());
  families.push_back(std::move(cpu));
  families.push_back(
      Gauge("process_open_fds", "Number of open file descriptors.", OpenDescriptors()));
  families.push_back(
      Gauge("process_max_fds", "Maximum number of open file descriptors.", MaxDescriptors()));
}

}  // namespace

std::vector<MetricFamily> Collector::Collect() const {
  std::vector<MetricFamily> families = calls_->Collect();
  AddServer(state_(), families);
  AddProcess(families);
  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  return families;
}

}  // namespace lossd
