#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "lossd/losses.h"
#include "server/metrics/call_metrics.h"
#include "server/metrics/few_connections.h"
#include "server/metrics/histogram.h"
#include "server/metrics/process_state.h"
#include "tests/server/scrape.h"
#include "tests/support/temp_dir.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
// As in the standard library, but a sanitizer has one of its own, whose memory would not be ours.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size);
}
// Not inlined: the compiler would see malloc on one side and delete on the other.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

// Counters and what is made of them, without a server.
namespace lossd::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Samples SamplesOf(const CallMetrics& metrics) {
  return ParseSamples(prometheus::TextSerializer().Serialize(metrics.Collect()));
}

// ---------------------------------------------------------------------------------- histograms

TEST(Histogram, ABoundBelongsToTheBucketItEnds) {
  TimeHistogram histogram;
  for (const int64_t nanoseconds : {0, 10'000, 10'001, 25'000}) histogram.Observe(nanoseconds);
  const auto exposed = histogram.Collect().histogram;
  ASSERT_EQ(exposed.bucket.size(), Histogram::kMaxBounds);
  EXPECT_THAT(exposed.bucket[0].upper_bound, DoubleEq(1e-5));
  EXPECT_EQ(exposed.bucket[0].cumulative_count, 2);
  EXPECT_THAT(exposed.bucket[1].upper_bound, DoubleEq(2.5e-5));
  EXPECT_EQ(exposed.bucket[1].cumulative_count, 4);
  EXPECT_EQ(exposed.sample_count, 4);
  EXPECT_THAT(exposed.sample_sum, DoubleEq(45'001e-9));
}

TEST(Histogram, WhatIsAboveAllBoundsIsInTheLastBucket) {
  ByteHistogram histogram;
  histogram.Observe(int64_t{64} << 30);
  histogram.Observe((int64_t{64} << 30) + 1);
  histogram.Observe(int64_t{1} << 50);
  const auto exposed = histogram.Collect().histogram;
  EXPECT_EQ(exposed.bucket.back().cumulative_count, 1);
  EXPECT_EQ(exposed.sample_count, 3);
}

TEST(Histogram, BoundsAscend) {
  const TimeHistogram times;
  const ByteHistogram bytes;
  for (const Histogram* const histogram :
       {static_cast<const Histogram*>(&times), static_cast<const Histogram*>(&bytes)}) {
    const auto buckets = histogram->Collect().histogram.bucket;
    for (size_t i = 1; i < buckets.size(); ++i) {
      EXPECT_LT(buckets[i - 1].upper_bound, buckets[i].upper_bound);
    }
  }
}

// --------------------------------------------------------------------------------------- calls

TEST(CallMetrics, OnlyUsualOutcomesAreThereFromTheStart) {
  const Samples samples = SamplesOf(CallMetrics());
  EXPECT_EQ(samples.size(), 2 * kLossCount + 1);  // the losses of two methods, and GetServerInfo
  for (const auto& [name, value] : samples) {
    EXPECT_THAT(name, ::testing::MatchesRegex("lossd_requests_total[{].*code=\"OK\"[}]"));
    EXPECT_EQ(value, 0) << name;
  }
}

TEST(CallMetrics, EveryPartOfACallIsCounted) {
  CallMetrics metrics;
  EndedCall call = {.method = Method::kComputeStream,
                    .loss = 2,
                    .code = absl::StatusCode::kUnavailable,
                    .duration = milliseconds(500),
                    .received_bytes = 3000,
                    .sent_bytes = 5};
  call.phases = {microseconds(1), milliseconds(2), milliseconds(30), milliseconds(400)};
  metrics.Count(call);
  metrics.Count(call);
  metrics.Count({.method = Method::kCompute});
  const Samples samples = SamplesOf(metrics);
  const auto at = [&](const std::string& name) {
    const auto found = samples.find(name);
    return found == samples.end() ? -1 : found->second;
  };
  EXPECT_EQ(at(R"(lossd_requests_total{method="ComputeStream",loss="nll",code="UNAVAILABLE"})"), 2);
  EXPECT_EQ(at(R"(lossd_requests_total{method="Compute",loss="none",code="CANCELLED"})"), 1);
  for (const auto& [name, sum] : {std::pair("duration_seconds", 1.0),
                                  {"queue_seconds", 2e-6},
                                  {"upload_seconds", 4e-3},
                                  {"download_seconds", 0.8},
                                  {"size_bytes", 6000.0}}) {
    EXPECT_THAT(at(std::string("lossd_request_") + name + R"(_sum{method="ComputeStream"})"),
                DoubleEq(sum))
        << name;
    EXPECT_EQ(at(std::string("lossd_request_") + name + R"(_count{method="ComputeStream"})"), 2);
  }
  EXPECT_THAT(at(R"(lossd_request_compute_seconds_sum{method="ComputeStream",loss="nll"})"),
              DoubleEq(0.06));
  EXPECT_EQ(at(R"(lossd_response_size_bytes_sum{method="ComputeStream"})"), 10);
  // A call that got nowhere is in no phase.
  EXPECT_EQ(at(R"(lossd_request_duration_seconds_count{method="Compute"})"), 1);
  EXPECT_EQ(at(R"(lossd_request_queue_seconds_count{method="Compute"})"), -1);
}

TEST(CallMetrics, OfManyThreadsAreWholeAndReadMeanwhile) {
  constexpr int kCalls = 2000;
  CallMetrics metrics;
  const auto received = [&] {
    return SamplesOf(metrics)[R"(lossd_request_size_bytes_sum{method="Compute"})"];
  };
  const auto count = [&metrics] {
    for (int i = 0; i < kCalls; ++i) {
      metrics.Count({.method = Method::kCompute, .received_bytes = 3});
    }
  };
  std::thread one(count), other(count);
  EXPECT_LE(received(), 2 * kCalls * 3);
  one.join();
  other.join();
  EXPECT_EQ(received(), 2 * kCalls * 3);
}

TEST(CallMetrics, CountingDoesNotAllocate) {
  CallMetrics metrics;
  EndedCall call = {.method = Method::kCompute, .loss = 0, .code = absl::StatusCode::kOk};
  call.phases = {microseconds(1), microseconds(1), microseconds(1), microseconds(1)};
  const int64_t before = allocations;
  metrics.Count(call);
  EXPECT_EQ(allocations, before);
  const auto grown = std::make_unique<int>(1);
  EXPECT_GT(allocations, before) << "allocations are not seen";
}

// ------------------------------------------------------------------------------------- process

TEST(ProcessState, IsThatOfThisProcess) {
  const auto state = ReadProcessState();
  ASSERT_TRUE(state);
  EXPECT_GT(state->resident_bytes, 1 << 20);
  EXPECT_GT(state->virtual_bytes, state->resident_bytes);
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_LE(state->start_time, now + 2);  // the system's boot time is in whole seconds
  EXPECT_GT(state->start_time, now - 24 * 3600);
  EXPECT_GT(CpuSeconds(), 0);
  EXPECT_GE(OpenDescriptors(), 3);
  EXPECT_GT(MaxDescriptors(), OpenDescriptors());
}

TEST(ProcessState, ANameMayLookLikeFields) {
  const TempDir scratch;
  std::filesystem::create_directories(scratch.Path("proc/self"));
  std::ofstream(scratch.Path("proc/stat")) << "cpu 1 2\nbtime 1000\n";
  std::ofstream(scratch.Path("proc/self/stat"))
      << "7 (a ) 1 b) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 2200 8192 3 rest\n";
  const auto state = ReadProcessState(scratch.Path(""));
  ASSERT_TRUE(state);
  EXPECT_EQ(state->virtual_bytes, 8192);
  EXPECT_EQ(state->resident_bytes, 3 * 4096);
  EXPECT_THAT(state->start_time, DoubleEq(1022));
  std::ofstream(scratch.Path("proc/self/stat")) << "7 (a) S 4";
  EXPECT_FALSE(ReadProcessState(scratch.Path("")));
  EXPECT_FALSE(ReadProcessState("/nowhere"));
}

// ----------------------------------------------------------------------------- FewConnections

constexpr Instant kNoon{};
constexpr FewConnections::Limits kThree = {
    .all = 3, .of_address = 2, .time = std::chrono::seconds(5)};

TEST(FewConnections, TheOldestOfAnAddressGivesWay) {
  FewConnections few(kThree);
  EXPECT_EQ(few.Add(1, "a", kNoon), std::nullopt);
  EXPECT_EQ(few.Add(2, "a", kNoon), std::nullopt);
  EXPECT_EQ(few.Add(3, "a", kNoon), 1);
  EXPECT_EQ(few.Add(4, "a", kNoon), 2);
  EXPECT_EQ(few.size(), 2);
}

TEST(FewConnections, WhereAllAreTakenTheAddressWithMostGivesWay) {
  FewConnections few(kThree);
  few.Add(1, "b", kNoon);
  few.Add(2, "a", kNoon);
  few.Add(3, "a", kNoon);
  EXPECT_EQ(few.Add(4, "c", kNoon), 2);
  EXPECT_EQ(few.Add(5, "d", kNoon), 1);  // all have one: the oldest
  EXPECT_EQ(few.size(), 3);
}

TEST(FewConnections, TheirTimeIsUpOnce) {
  FewConnections few(kThree);
  EXPECT_EQ(few.next(), Instant::max());
  few.Add(1, "a", kNoon);
  few.Add(2, "b", kNoon + std::chrono::seconds(1));
  EXPECT_EQ(few.next(), kNoon + std::chrono::seconds(5));
  EXPECT_THAT(few.Expire(few.next() - Interval(1)), IsEmpty());
  EXPECT_THAT(few.Expire(few.next()), ElementsAre(1));
  few.Remove(2);
  EXPECT_THAT(few.Expire(kNoon + std::chrono::hours(1)), IsEmpty());
  EXPECT_EQ(few.size(), 0);
}

}  // namespace
}  // namespace lossd::testing
