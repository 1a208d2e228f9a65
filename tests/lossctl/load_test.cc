// When lossctl bench calls, and from when a call's time counts. Time is the test's.
#include "client/lossctl/bench/load.h"

#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/synchronization/mutex.h"
#include "client/transport/transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using ::testing::ElementsAre;

// Passes only while somebody sleeps or works.
class FakeTime {
 public:
  absl::Duration Now() {
    const absl::MutexLock lock(&mutex_);
    return now_;
  }
  void AdvanceTo(absl::Duration time) {
    const absl::MutexLock lock(&mutex_);
    now_ = std::max(now_, time);
  }
  void Work(absl::Duration time) {
    const absl::MutexLock lock(&mutex_);
    now_ += time;
  }
  LoadClock Clock() {
    return {[this] { return Now(); }, [this](absl::Duration until) { AdvanceTo(until); }};
  }

 private:
  absl::Mutex mutex_;
  absl::Duration now_ ABSL_GUARDED_BY(mutex_);
};

constexpr absl::Duration kMs = absl::Milliseconds(1);

TEST(Load, EachCallerCallsAgainWhenItHasItsAnswer) {
  FakeTime time;
  std::vector<int64_t> indices;
  LoadRun run({.duration = 35 * kMs}, time.Clock(), [&](int, int64_t index) -> Verdict {
    indices.push_back(index);
    time.Work(10 * kMs);
    return {};
  });
  const Tally tally = run.WaitForEnd();
  EXPECT_THAT(indices, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(tally.right(), 4);
  EXPECT_EQ(tally.latency.min(), 10 * kMs);
  EXPECT_EQ(tally.latency.max(), 10 * kMs);
  EXPECT_EQ(tally.elapsed, 40 * kMs);
  EXPECT_EQ(tally.not_begun, 0);
  EXPECT_FALSE(tally.interrupted);
}

TEST(Load, ARateIsKeptWhileTheServerIsFastEnough) {
  FakeTime time;
  std::vector<absl::Duration> begins;
  LoadRun run({.rate = 100, .duration = 45 * kMs}, time.Clock(), [&](int, int64_t) -> Verdict {
    begins.push_back(time.Now());
    time.Work(3 * kMs);
    return {};
  });
  const Tally tally = run.WaitForEnd();
  EXPECT_THAT(begins, ElementsAre(0 * kMs, 10 * kMs, 20 * kMs, 30 * kMs, 40 * kMs));
  EXPECT_EQ(tally.latency.max(), 3 * kMs);
}

// One call of 50 ms at 100 per second holds up four others, and they were late through no fault of
// theirs: 50, 41, 32, 23, 14 ms after they were due, then 5 and 1: 23.714 ms on average.
TEST(Load, TimeCountsFromWhenACallWasDue) {
  FakeTime time;
  LoadRun run({.rate = 100, .duration = 65 * kMs}, time.Clock(),
              [&](int, int64_t index) -> Verdict {
                time.Work(index == 0 ? 50 * kMs : 1 * kMs);
                return {};
              });
  const Tally tally = run.WaitForEnd();
  EXPECT_EQ(tally.right(), 7);
  EXPECT_EQ(absl::Trunc(tally.latency.mean(), absl::Microseconds(1)), absl::Microseconds(23714));
  EXPECT_EQ(tally.latency.max(), 50 * kMs);
}

TEST(Load, WhatFellDueAndWasNotBegunIsTold) {
  FakeTime time;
  LoadRun run({.rate = 10, .duration = absl::Seconds(1)}, time.Clock(),
              [&](int, int64_t) -> Verdict {
                time.Work(absl::Seconds(1));
                return {};
              });
  const Tally tally = run.WaitForEnd();
  EXPECT_EQ(tally.right(), 3);  // the last begun at 2 s: a second late is late enough
  EXPECT_EQ(tally.not_begun, 7);
}

TEST(Load, EndsAfterSoManyCalls) {
  for (const std::optional<double> rate : {std::optional<double>(), std::optional<double>(1000)}) {
    FakeTime time;
    std::atomic<int> calls = 0;
    LoadRun run({.callers = 3, .rate = rate, .calls = 20}, time.Clock(),
                [&](int, int64_t) -> Verdict {
                  ++calls;
                  return {};
                });
    const Tally tally = run.WaitForEnd();
    EXPECT_EQ(calls, 20);
    EXPECT_EQ(tally.right(), 20);
    EXPECT_EQ(tally.not_begun, 0);
  }
}

TEST(Load, StopEndsItAndSaysSo) {
  FakeTime time;
  std::atomic<bool> begun = false;
  LoadRun run({.rate = 10, .duration = absl::Hours(1)}, time.Clock(), [&](int, int64_t) -> Verdict {
    begun = true;
    return {};
  });
  while (!begun) continue;
  run.Stop();
  const Tally tally = run.WaitForEnd();
  EXPECT_TRUE(run.Over());
  EXPECT_TRUE(tally.interrupted);
  EXPECT_EQ(tally.not_begun, 0);
}

TEST(Load, WrongAndFailedCallsAreToldApart) {
  FakeTime time;
  absl::Status turned_away = absl::InternalError("try after 3 attempts");
  turned_away.SetPayload(absl::string_view(kReasonPayload.data(), kReasonPayload.size()),
                         absl::Cord("BAD_DAY"));
  LoadRun run({.calls = 7}, time.Clock(), [&](int, int64_t index) -> Verdict {
    time.Work(kMs);
    if (index == 1) return {.wrong = true};
    if (index == 5) return {turned_away};
    if (index == 2) return {absl::UnavailableError("try after 3 attempts")};
    if (index == 3) return {absl::UnavailableError("try after 17 attempts")};
    if (index == 4) return {absl::InternalError("try after 3 attempts")};
    return {};
  });
  const Tally tally = run.WaitForEnd();
  EXPECT_EQ(tally.right(), 2);
  EXPECT_EQ(tally.wrong, 1);
  EXPECT_EQ(tally.failed, 4);
  EXPECT_EQ(tally.calls(), 7);
  ASSERT_EQ(tally.failures.size(), 3u);
  const Failures& away = tally.failures.at("UNAVAILABLE : try after # attempts");
  EXPECT_EQ(away.count, 2);
  EXPECT_EQ(away.example, absl::UnavailableError("try after 3 attempts"));
  EXPECT_EQ(tally.failures.at("INTERNAL : try after # attempts").count, 1);
  EXPECT_EQ(tally.failures.at("INTERNAL BAD_DAY: try after # attempts").example, turned_away);
}

}  // namespace
}  // namespace lossd::lossctl
