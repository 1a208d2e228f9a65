#include "server/metrics/histogram.h"

namespace lossd {
namespace {

constexpr std::array<int64_t, Histogram::kMaxBounds> TimeBounds() {
  std::array<int64_t, Histogram::kMaxBounds> bounds{};
  int64_t decade = 10'000;
  for (size_t i = 0; i < bounds.size(); ++i) {
    constexpr int64_t kTenths[] = {10, 25, 50};
    bounds[i] = decade * kTenths[i % 3] / 10;
    if (i % 3 == 2) decade *= 10;
  }
  return bounds;
}

constexpr std::array<int64_t, 14> ByteBounds() {
  std::array<int64_t, 14> bounds{};
  for (size_t i = 0; i < bounds.size(); ++i) bounds[i] = int64_t{1024} << (2 * i);
  return bounds;
}

constexpr auto kTimeBounds = TimeBounds();
constexpr auto kByteBounds = ByteBounds();
static_assert(kTimeBounds.back() == 100'000'000'000);
static_assert(kByteBounds.back() == int64_t{64} << 30);

}  // namespace

prometheus::ClientMetric Histogram::Collect() const {
  prometheus::ClientMetric metric;
  prometheus::ClientMetric::Histogram& exposed = metric.histogram;
  for (size_t i = 0; i <= bounds_.size(); ++i) {
    exposed.sample_count += counts_[i].load(std::memory_order_relaxed);
    if (i == bounds_.size()) break;  // the last bucket is the total, which the serializer adds
    exposed.bucket.push_back({exposed.sample_count, static_cast<double>(bounds_[i]) / unit_});
  }
  exposed.sample_sum = static_cast<double>(sum_.load(std::memory_order_relaxed)) / unit_;
  return metric;
}

TimeHistogram::TimeHistogram() : Histogram(kTimeBounds, 1e9) {}
ByteHistogram::ByteHistogram() : Histogram(kByteBounds, 1) {}

}  // namespace lossd
