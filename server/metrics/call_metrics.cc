#include "server/metrics/call_metrics.h"

#include <prometheus/metric_type.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "server/metrics/family.h"

namespace lossd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

size_t IndexOf(Method method) { return static_cast<size_t>(method); }

size_t LossIndex(const std::optional<size_t>& loss) { return loss ? *loss + 1 : 0; }

std::string LossLabel(size_t index) {
  return index == 0 ? "none" : std::string(kLossFacts[index - 1].name);
}

int64_t Nanoseconds(Interval interval) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(interval).count();
}

// A histogram that nothing was observed in yet takes two dozen lines to say so: it is left out.
void AddHistogram(MetricFamily& family, Labels labels, const Histogram& histogram) {
  prometheus::ClientMetric metric = histogram.Collect();
  if (metric.histogram.sample_count == 0) return;
  metric.label = std::move(labels);
  family.metric.push_back(std::move(metric));
}

template <class Histograms>
MetricFamily FamilyByMethod(std::string name, std::string help, const Histograms& histograms) {
  MetricFamily family = NewFamily(std::move(name), std::move(help), MetricType::Histogram);
  for (size_t method = 0; method < histograms.size(); ++method) {
    AddHistogram(family, {{"method", std::string(kMethodNames[method])}}, histograms[method]);
  }
  return family;
}

}  // namespace

void CallMetrics::Count(const EndedCall& call) {
  const size_t method = IndexOf(call.method);
  const size_t loss = LossIndex(call.loss);
  ended_[method][loss][static_cast<size_t>(call.code)].fetch_add(1, std::memory_order_relaxed);
  duration_[method].Observe(Nanoseconds(call.duration));
  received_[method].Observe(call.received_bytes);
  sent_[method].Observe(call.sent_bytes);
  TimeHistogram* const histograms[kPhases] = {&queue_[method], &upload_[method],
                                              &compute_[method][loss], &download_[method]};
  for (size_t phase = 0; phase < kPhases; ++phase) {
    if (call.phases[phase]) histograms[phase]->Observe(Nanoseconds(*call.phases[phase]));
  }
}

std::vector<MetricFamily> CallMetrics::Collect() const {
  MetricFamily requests =
      NewFamily("lossd_requests_total", "Calls that ended.", MetricType::Counter);
  MetricFamily compute = NewFamily(
      "lossd_request_compute_seconds",
      "Time in which a call was decoded, checked, computed and encoded.", MetricType::Histogram);
  for (size_t method = 0; method < kMethods; ++method) {
    // Methods without a loss, and losses of calls that ended before it was read, have no "OK".
    const bool has_loss = method < IndexOf(Method::kGetServerInfo);
    for (size_t loss = 0; loss < kLosses; ++loss) {
      const Labels labels = {{"method", std::string(kMethodNames[method])},
                             {"loss", LossLabel(loss)}};
      AddHistogram(compute, labels, compute_[method][loss]);
      for (size_t code = 0; code < kCodes; ++code) {
        const int64_t ended = ended_[method][loss][code].load(std::memory_order_relaxed);
        const bool usual = code == 0 && (loss > 0) == has_loss && method < kLossMethods;
        if (ended == 0 && !usual) continue;
        Labels with_code = labels;
        with_code.push_back(
            {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(code))});
        AddCounter(requests, std::move(with_code), static_cast<double>(ended));
      }
    }
  }
  return {std::move(requests),
          FamilyByMethod("lossd_request_duration_seconds",
                         "Time from the arrival of a call to its end.", duration_),
          FamilyByMethod("lossd_request_queue_seconds",
                         "Time that a call waited for memory and for a thread.", queue_),
          FamilyByMethod("lossd_request_upload_seconds",
                         "Time that the server waited for the messages of a stream.", upload_),
          std::move(compute),
          FamilyByMethod("lossd_request_download_seconds",
                         "Time until the connection had taken the answers of a call.", download_),
          FamilyByMethod("lossd_request_size_bytes", "Messages received, per call.", received_),
          FamilyByMethod("lossd_response_size_bytes", "Messages sent, per call.", sent_)};
}

}  // namespace lossd
