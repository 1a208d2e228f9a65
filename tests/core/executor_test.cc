#include "core/exec/executor.h"

#include <atomic>
#include <deque>
#include <functional>
#include <latch>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/system/usable_threads.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr int64_t kMiB = 1 << 20;

// Is told who runs it, so that it can be made before the executor and outlive it.
class Work final : public Task {
 public:
  explicit Work(std::function<void(Executor&)> what) : what_(std::move(what)) {}
  void SubmitTo(Executor& executor, const Executor::Order& order) {
    executor_ = &executor;
    executor.Submit(this, order);
  }
  void Run() override { what_(*executor_); }

 private:
  std::function<void(Executor&)> what_;
  Executor* executor_ = nullptr;
};

TEST(Executor, RunsEveryUnitOnce) {
  for (const int threads : {1, 2, 8}) {
    Executor executor(threads);
    EXPECT_EQ(executor.threads(), threads);
    for (const int64_t count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> runs(count);
      EXPECT_TRUE(executor.ForEach(count, StopToken(), [&](int64_t i) { ++runs[i]; }).ok());
      for (const std::atomic<int>& run : runs) EXPECT_EQ(run, 1);
    }
  }
}

TEST(Executor, AUnitThatThrowsIsAStatus) {
  Executor executor(2);
  const absl::Status status = executor.ForEach(
      100, StopToken(), [](int64_t i) { return i == 50 ? throw std::bad_alloc() : void(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(executor.ForEach(100, StopToken(), [](int64_t) {}).ok());
}

TEST(Executor, StopsBetweenUnits) {
  Executor executor(2);
  std::atomic<bool> stop = false;
  std::atomic<int> runs = 0;
  const absl::Status status = executor.ForEach(1 << 20, StopToken(&stop), [&](int64_t) {
    if (++runs == 10) stop = true;
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_LT(runs, 1 << 19);
}

TEST(Executor, UsesAtLeastOneThread) { EXPECT_GE(UsableThreads(), 1); }

TEST(Submitted, RunsBeforeTheExecutorGoes) {
  for (const int threads : {1, 2, 8}) {
    std::atomic<int> runs = 0;
    Share shares[3];
    std::deque<Work> works;  // in one place each
    for (int i = 0; i < 300; ++i) works.emplace_back([&](Executor&) { ++runs; });
    {
      Executor executor(threads);
      for (int i = 0; i < 300; ++i) {
        works[i].SubmitTo(executor, {.share = &shares[i % 3], .bytes = i, .urgent = i % 7 == 0});
      }
    }
    EXPECT_EQ(runs, 300);
  }
}

// One thread is held up while others queue; then the share with one task comes before the second
// of the other share.
TEST(Submitted, IsServedByShare) {
  std::latch held(1);
  std::string order;
  Share many, one;
  Work holds([&](Executor&) { held.wait(); });
  Work a([&](Executor&) { order += 'a'; }), b([&](Executor&) { order += 'b'; }),
      c([&](Executor&) { order += 'c'; });
  Work alone([&](Executor&) { order += '1'; });
  Work urgent([&](Executor&) { order += 'u'; });
  {
    Executor executor(1);
    holds.SubmitTo(executor, {.share = &many, .bytes = 4 * kMiB});
    for (Work* work : {&a, &b, &c}) work->SubmitTo(executor, {.share = &many, .bytes = 4 * kMiB});
    alone.SubmitTo(executor, {.share = &one, .bytes = 4 * kMiB});
    urgent.SubmitTo(executor, {.share = &many, .bytes = 10, .urgent = true});
    EXPECT_TRUE(executor.busy());
    held.count_down();
  }
  EXPECT_EQ(order, "u1abc");
}

// Large work is under way on every thread, and a small piece comes in: it does not wait for the
// end.
TEST(Submitted, UrgentWorkRunsBetweenUnits) {
  for (const int threads : {1, 2}) {
    Share share;
    std::atomic<bool> done = false;
    std::atomic<int> units_after = 0;
    Work urgent([&](Executor&) { done = true; });
    Work large([&](Executor& executor) {
      std::atomic<bool> submitted = false;
      const auto unit = [&](int64_t) {
        if (!submitted.exchange(true)) urgent.SubmitTo(executor, {.share = &share, .urgent = true});
        if (done) ++units_after;
      };
      EXPECT_TRUE(executor.ForEach(100'000, StopToken(), unit).ok());
    });
    Work other([&](Executor& executor) {
      EXPECT_TRUE(executor.ForEach(100, StopToken(), [](int64_t) {}).ok());
    });
    {
      Executor executor(threads);
      large.SubmitTo(executor, {.share = &share, .bytes = kMiB});
      other.SubmitTo(executor, {.share = &share, .bytes = kMiB});
    }
    EXPECT_TRUE(done);
    EXPECT_GT(units_after, 1000) << threads;
  }
}

// What a piece of large work throws ends that work, and not the urgent one in its midst, of which
// no unit may be left out.
TEST(Submitted, FailuresDoNotReachUrgentWorkInBetween) {
  Share share;
  constexpr int kUnits = 2000;
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> runs = 0;
    std::atomic<bool> inside = false;
    std::atomic<bool> thrown = false;
    Work urgent([&](Executor& executor) {
      const auto unit = [&](int64_t) {
        inside = true;
        while (!thrown) std::this_thread::yield();
        std::this_thread::yield();
        ++runs;
      };
      EXPECT_TRUE(executor.ForEach(kUnits, StopToken(), unit).ok());
    });
    Work large([&](Executor& executor) {
      // Once both threads are at it, so that the urgent work comes in the midst of one's.
      const std::thread::id first = std::this_thread::get_id();
      std::atomic<bool> submitted = false;
      const auto unit = [&](int64_t) {
        if (inside) {
          thrown = true;
          throw std::bad_alloc();
        }
        std::this_thread::yield();
        if (std::this_thread::get_id() != first && !submitted.exchange(true)) {
          urgent.SubmitTo(executor, {.share = &share, .urgent = true});
        }
      };
      const absl::Status status = executor.ForEach(100'000'000, StopToken(), unit);
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    });
    {
      Executor executor(2);
      large.SubmitTo(executor, {.share = &share, .bytes = kMiB});
    }
    EXPECT_EQ(runs, kUnits);
  }
}

// A thread that is not one of the executor's computes by itself where none is to be had.
TEST(Submitted, DoesNotHoldUpCallersFromOutside) {
  Share share;
  std::latch running(2), held(1);
  const auto hold = [&](Executor&) {
    running.count_down();
    held.wait();
  };
  Work first(hold), second(hold);
  Executor executor(2);
  first.SubmitTo(executor, {.share = &share});
  second.SubmitTo(executor, {.share = &share});
  running.wait();
  int runs = 0;
  EXPECT_TRUE(executor.ForEach(100, StopToken(), [&](int64_t) { ++runs; }).ok());
  EXPECT_EQ(runs, 100);
  held.count_down();
}

}  // namespace
}  // namespace lossd
