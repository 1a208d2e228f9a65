#ifndef LOSSD_SERVER_METRICS_CALL_METRICS_H_
#define LOSSD_SERVER_METRICS_CALL_METRICS_H_

#include <prometheus/metric_family.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "lossd/losses.h"
#include "server/admission/instant.h"
#include "server/admission/method.h"
#include "server/metrics/histogram.h"
#include "server/metrics/labels.h"

namespace lossd {

// What is counted of one call.
struct EndedCall {
  Method method;
  std::optional<size_t> loss = {};  // index of the lossd::Loss, once it was read
  absl::StatusCode code = absl::StatusCode::kCancelled;
  Interval duration{};
  std::array<std::optional<Interval>, kPhases> phases = {};  // nullopt: it did not get that far
  int64_t received_bytes = 0;
  int64_t sent_bytes = 0;
};

// Counts calls. Counting one is a few additions: no lock, no allocation, nothing that depends on
// what a caller sent. Thread-safe.
class CallMetrics {
 public:
  void Count(const EndedCall& call);

  std::vector<prometheus::MetricFamily> Collect() const;

 private:
  static constexpr size_t kMethods = kMethodNames.size();
  static constexpr size_t kLosses = kLossCount + 1;  // the first is none
  static constexpr size_t kCodes = 17;               // of gRPC

  template <class T>
  using ByMethod = std::array<T, kMethods>;
  template <class T>
  using ByLoss = std::array<T, kLosses>;

  ByMethod<ByLoss<std::array<std::atomic<int64_t>, kCodes>>> ended_{};
  ByMethod<TimeHistogram> duration_;
  ByMethod<TimeHistogram> queue_;
  ByMethod<TimeHistogram> upload_;
  ByMethod<ByLoss<TimeHistogram>> compute_;
  ByMethod<TimeHistogram> download_;
  ByMethod<ByteHistogram> received_;
  ByMethod<ByteHistogram> sent_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_CALL_METRICS_H_
