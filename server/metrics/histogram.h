#ifndef LOSSD_SERVER_METRICS_HISTOGRAM_H_
#define LOSSD_SERVER_METRICS_HISTOGRAM_H_

#include <prometheus/client_metric.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace lossd {

// Counts values by bucket. Observing neither locks nor allocates, which prometheus::Histogram does;
// a reader may see a value in its bucket and not yet in the sum. Thread-safe.
class Histogram {
 public:
  static constexpr size_t kMaxBounds = 22;

  // `bounds`: the largest value of each bucket but the last, ascending, at most kMaxBounds;
  // outlives this. What is observed is exposed divided by `unit`.
  Histogram(absl::Span<const int64_t> bounds, double unit) : bounds_(bounds), unit_(unit) {}

  void Observe(int64_t value) {
    const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  // Without labels.
  prometheus::ClientMetric Collect() const;

 private:
  absl::Span<const int64_t> bounds_;
  double unit_;
  std::array<std::atomic<uint64_t>, kMaxBounds + 1> counts_{};
  std::atomic<int64_t> sum_{0};
};

// Of nanoseconds, exposed as seconds: 1, 2.5 and 5 times each power of ten from 10 us to 100 s.
class TimeHistogram : public Histogram {
 public:
  TimeHistogram();
};

// Of bytes: the powers of 4 from 1 KiB to 64 GiB.
class ByteHistogram : public Histogram {
 public:
  ByteHistogram();
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_HISTOGRAM_H_
