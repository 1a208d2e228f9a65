#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_HISTOGRAM_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace lossd::lossctl {

// Counts times, from a nanosecond to centuries, in buckets that are at most 1/128 of their value
// wide (an HDR histogram). Its size does not grow with what is recorded. Not thread-safe.
class Histogram {
 public:
  // Less than 0 counts as 0.
  void Record(absl::Duration time);
  void Merge(const Histogram& other);

  int64_t count() const { return count_; }

  // Statistics of what was recorded; 0 where nothing was.
  absl::Duration min() const;
  absl::Duration max() const;
  absl::Duration mean() const;

  // The time that `share` of those recorded do not exceed: the largest of its bucket, and never
  // more than max(). 0 where nothing was recorded. Precondition: 0 <= share <= 1.
  absl::Duration Quantile(double share) const;

  // One row per step of the ladder 1 ns * 2^(i / steps), from the first to the last that holds
  // something: times above the step before it, up to `up_to`. Precondition: steps is 1, 2, 4 or 8.
  struct Bar {
    absl::Duration up_to;
    int64_t count;
  };
  std::vector<Bar> Bars(int steps) const;

 private:
  static size_t BucketOf(int64_t nanoseconds);
  static int64_t LargestOf(size_t bucket);

  std::vector<int64_t> counts_;  // by bucket; as long as the largest needs
  int64_t count_ = 0;
  int64_t min_ = 0;  // nanoseconds, likewise below
  int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_HISTOGRAM_H_
