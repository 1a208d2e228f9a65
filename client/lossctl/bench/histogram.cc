#include "client/lossctl/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lossd::lossctl {
namespace {

// Values below 2^(kBits + 1) have a bucket each; above, each doubling is cut into 2^kBits.
constexpr int kBits = 7;
constexpr int64_t kPerDoubling = int64_t{1} << kBits;

int DoublingOf(int64_t value) {
  return std::max(0, static_cast<int>(std::bit_width(static_cast<uint64_t>(value))) - kBits - 1);
}

}  // namespace

size_t Histogram::BucketOf(int64_t nanoseconds) {
  const int doubling = DoublingOf(nanoseconds);
  return doubling * kPerDoubling + (nanoseconds >> doubling);
}

int64_t Histogram::LargestOf(size_t bucket) {
  const auto index = static_cast<int64_t>(bucket);
  const int64_t doubling = std::max<int64_t>(0, index / kPerDoubling - 1);
  // The end of the last bucket is 2^63.
  const auto end = static_cast<uint64_t>(index - doubling * kPerDoubling + 1) << doubling;
  return static_cast<int64_t>(end - 1);
}

void Histogram::Record(absl::Duration time) {
  const int64_t value = std::max<int64_t>(0, absl::ToInt64Nanoseconds(time));
  const size_t bucket = BucketOf(value);
  if (counts_.size() <= bucket) counts_.resize(bucket + 1);
  ++counts_[bucket];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  counts_.resize(std::max(counts_.size(), other.counts_.size()));
  for (size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

absl::Duration Histogram::min() const { return absl::Nanoseconds(min_); }
absl::Duration Histogram::max() const { return absl::Nanoseconds(max_); }

absl::Duration Histogram::mean() const {
  return count_ == 0 ? absl::ZeroDuration() : absl::Nanoseconds(sum_ / static_cast<double>(count_));
}

absl::Duration Histogram::Quantile(double share) const {
  if (count_ == 0) return absl::ZeroDuration();
  const auto rank =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(share * static_cast<double>(count_))));
  int64_t seen = 0;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    seen += counts_[bucket];
    if (seen >= rank) return absl::Nanoseconds(std::min(LargestOf(bucket), max_));
  }
  return max();
}

std::vector<Histogram::Bar> Histogram::Bars(int steps) const {
  // A step's end in nanoseconds; a bucket belongs to the first step that it does not exceed.
  const auto end_of = [steps](int64_t step) {
    return std::exp2(static_cast<double>(step) / steps);
  };
  std::vector<Bar> bars;
  int64_t step = 0;
  for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    if (counts_[bucket] == 0) continue;
    const auto largest = static_cast<double>(LargestOf(bucket));
    while (end_of(step) < largest) {
      ++step;
      if (!bars.empty()) bars.push_back({absl::Nanoseconds(end_of(step)), 0});
    }
    if (bars.empty()) bars.push_back({absl::Nanoseconds(end_of(step)), 0});
    bars.back().count += counts_[bucket];
  }
  return bars;
}

}  // namespace lossd::lossctl
