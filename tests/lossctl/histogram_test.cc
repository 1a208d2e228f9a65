// What lossctl bench counts times in: within 1/128 of the truth, whatever is recorded.
#include "client/lossctl/bench/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

Histogram Of(const std::vector<int64_t>& nanoseconds) {
  Histogram histogram;
  for (const int64_t value : nanoseconds) histogram.Record(absl::Nanoseconds(value));
  return histogram;
}

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram empty;
  EXPECT_EQ(empty.count(), 0);
  for (const absl::Duration time : {empty.min(), empty.max(), empty.mean(), empty.Quantile(.5)}) {
    EXPECT_EQ(time, absl::ZeroDuration());
  }
  EXPECT_TRUE(empty.Bars(2).empty());
}

TEST(Histogram, SmallTimesAreExact) {
  const Histogram histogram = Of({-5, 0, 1, 127, 128, 255});
  EXPECT_EQ(histogram.Quantile(0), absl::ZeroDuration());
  EXPECT_EQ(histogram.Quantile(.5), absl::Nanoseconds(1));
  EXPECT_EQ(histogram.Quantile(.6), absl::Nanoseconds(127));
  EXPECT_EQ(histogram.Quantile(.8), absl::Nanoseconds(128));
  EXPECT_EQ(histogram.Quantile(1), absl::Nanoseconds(255));
  EXPECT_EQ(histogram.mean(), absl::Nanoseconds(511.0 / 6));
}

TEST(Histogram, EveryTimeIsWithinItsBucket) {
  std::vector<int64_t> values = {1, std::numeric_limits<int64_t>::max()};
  for (int bit = 1; bit < 63; ++bit) {
    for (const int64_t by : {-1, 0, 1, 5}) values.push_back((int64_t{1} << bit) + by);
  }
  for (const int64_t value : values) {
    Histogram histogram = Of({value});
    histogram.Record(absl::InfiniteDuration());  // so that the maximum does not clip
    const int64_t got = absl::ToInt64Nanoseconds(histogram.Quantile(.5));
    EXPECT_GE(got, value);
    EXPECT_LE(got - value, value / 128) << value;
  }
}

TEST(Histogram, QuantilesOfManyTimes) {
  const uint64_t seed = 20261124;
  std::mt19937_64 random(seed);
  std::vector<int64_t> values(20'000);
  for (int64_t& value : values) {
    value = static_cast<int64_t>(std::exp2(static_cast<double>(random() % 4000) / 100));
  }
  // In two halves, one of them larger: merging changes nothing.
  Histogram histogram = Of({values.begin(), values.begin() + 5'000});
  histogram.Merge(Of({values.begin() + 5'000, values.end()}));
  histogram.Merge(Histogram());
  std::sort(values.begin(), values.end());
  for (const double share : {0., .01, .25, .5, .9, .99, .999, 1.}) {
    const auto rank = std::max<size_t>(1, static_cast<size_t>(std::ceil(share * 20'000)));
    const auto want = static_cast<double>(values[rank - 1]);
    const double got = absl::ToDoubleNanoseconds(histogram.Quantile(share));
    EXPECT_GE(got, want) << share << ", seed " << seed;
    EXPECT_LE(got, want * (1 + 1. / 128)) << share << ", seed " << seed;
  }
  EXPECT_EQ(histogram.min(), absl::Nanoseconds(values.front()));
  EXPECT_EQ(histogram.max(), absl::Nanoseconds(values.back()));
  EXPECT_EQ(histogram.count(), 20'000);
}

TEST(Histogram, BarsHoldAllInOrder) {
  const Histogram histogram = Of({100, 120, 130, 1000, 4000, 4001});
  const std::vector<Histogram::Bar> bars = histogram.Bars(1);
  std::vector<std::pair<double, int64_t>> got;
  got.reserve(bars.size());
  for (const Histogram::Bar& bar : bars) {
    got.emplace_back(absl::ToDoubleNanoseconds(bar.up_to), bar.count);
  }
  EXPECT_THAT(got, testing::ElementsAre(testing::Pair(128, 2), testing::Pair(256, 1),
                                        testing::Pair(512, 0), testing::Pair(1024, 1),
                                        testing::Pair(2048, 0), testing::Pair(4096, 2)));
}

}  // namespace
}  // namespace lossd::lossctl
