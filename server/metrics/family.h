#ifndef LOSSD_SERVER_METRICS_FAMILY_H_
#define LOSSD_SERVER_METRICS_FAMILY_H_

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lossd {

using Labels = std::vector<prometheus::ClientMetric::Label>;

// A metric without samples yet.
inline prometheus::MetricFamily NewFamily(std::string name, std::string help,
                                          prometheus::MetricType type) {
  return {std::move(name), std::move(help), type, {}};
}

inline void AddCounter(prometheus::MetricFamily& family, Labels labels, double value) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.counter.value = value;
}

inline void AddGauge(prometheus::MetricFamily& family, Labels labels, double value) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.gauge.value = value;
}

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_FAMILY_H_
