// What admission counts and measures, piece by piece.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "core/system/usable_threads.h"
#include "server/admission/memory_limit.h"
#include "server/admission/stream_cost.h"
#include "server/admission/watch.h"

namespace lossd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kMiB = 1 << 20;
constexpr Instant kStart{seconds(1000)};

// -------------------------------------------------------------------------------------- watch

class Counting final : public Watched {
 public:
  int due = 0;
  int wanted = 0;

 private:
  void OnDue(Instant now) override { ++due; }
  void OnWanted(Instant now) override { ++wanted; }
};

TEST(Watch, ADueTimeIsMovedUnlessItWasSetMeanwhile) {
  Watch watch;
  Counting counting;
  watch.Add(&counting);
  counting.SetDue(kStart);
  counting.MoveDue(kStart, kStart + seconds(1));
  watch.Tick(kStart);
  EXPECT_EQ(counting.due, 0);
  counting.MoveDue(kStart, kStart + seconds(2));
  watch.Tick(kStart + seconds(1));
  EXPECT_EQ(counting.due, 1);
  watch.Remove(&counting);
}

TEST(Watch, AsksAllForWhatTheyDoNotUse) {
  Watch watch;
  Counting a;
  Counting b;
  watch.Add(&a);
  watch.Add(&b);
  watch.AskBack(kStart);
  EXPECT_EQ(a.wanted + b.wanted, 2);
  watch.Remove(&a);
  watch.AskBack(kStart);
  EXPECT_EQ(a.wanted, 1);
  watch.Remove(&b);
}

TEST(Watch, TellsWhoIsDueAndTicksOnlyWhileSomethingIsWatched) {
  Watch watch;
  Counting a;
  Counting b;
  Counting never;
  EXPECT_TRUE(watch.Add(&a));
  EXPECT_FALSE(watch.Add(&b));
  EXPECT_FALSE(watch.Add(&never));
  a.SetDue(kStart);
  b.SetDue(kStart + seconds(1));
  EXPECT_TRUE(watch.Tick(kStart - milliseconds(1)));
  EXPECT_EQ(a.due, 0);
  EXPECT_TRUE(watch.Tick(kStart));
  EXPECT_EQ(a.due, 1);
  EXPECT_EQ(b.due, 0);
  b.SetDue(kStart);
  watch.Remove(&a);
  EXPECT_TRUE(watch.Tick(kStart));
  EXPECT_EQ(a.due, 1);
  EXPECT_EQ(b.due, 1);
  watch.Remove(&never);
  watch.Remove(&b);
  EXPECT_FALSE(watch.Add(&a)) << "the tick that finds nothing has not come yet";
  watch.Remove(&a);
  EXPECT_FALSE(watch.Tick(kStart));
  EXPECT_TRUE(watch.Add(&a));
  watch.Remove(&a);
  EXPECT_EQ(never.due, 0);
}

// ------------------------------------------------------------------------------- stream costs

LossPlan PlanOf(DType dtype, std::vector<int64_t> shape, const OutputSet& outputs = {}) {
  LossSpec spec;
  spec.outputs = outputs;
  LossTensorDescs tensors;
  tensors.predictions = {dtype, shape, Layout::kRowMajor};
  shape.erase(shape.begin() + 1);
  tensors.targets = {DType::kI64, shape, Layout::kRowMajor};
  absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

TEST(StreamCost, SmallStreamsCostAllOfTheirBytes) {
  const LossPlan plan = PlanOf(DType::kF32, {10, 100});
  const StreamCost cost(plan, 10, 80, 0, 4);
  EXPECT_EQ(cost.Initial(64 * kMiB), 80 + 80 + 2 * 4000);
  EXPECT_EQ(cost.WithMessages(64 * kMiB), 80 + 80 + 2 * 4000);
  EXPECT_EQ(cost.upload_bytes(), 80 + 4000);
}

TEST(StreamCost, LargeStreamsCostWhatIsInFlight) {
  const LossPlan plan = PlanOf(DType::kF32, {1 << 20, 1024});  // 4 GiB
  const StreamCost cost(plan, 1 << 20, 8 * kMiB, 0, 4);
  EXPECT_EQ(cost.WithMessages(4 * kMiB), (8 + 4 * (4 + 4)) * kMiB);
  EXPECT_EQ(cost.Initial(64 * kMiB), (8 + 4 * (8 + 8)) * kMiB);
  EXPECT_EQ(cost.Initial(128 * kMiB), (8 + 128) * kMiB);  // one message may be all of it
  EXPECT_EQ(cost.WithMessages(64 * kMiB), (8 + 4 * 128) * kMiB);
}

TEST(StreamCost, OutputsCountWhatTheyAre) {
  // f16 in, per position of 512 bytes: f64 gradient 2048, probabilities 512, 8, 8 and 1.
  const LossPlan plan = [] {
    OutputSet all;
    all.gradient = all.position_losses = all.log_sum_exp = all.argmax_hits = all.probabilities =
        true;
    return PlanOf(DType::kF16, {1 << 20, 256}, all);
  }();
  const StreamCost cost(plan, 1 << 20, 0, 0, 1);
  EXPECT_EQ(cost.WithMessages(512), 512 + 512 + 512 + 17);
}

TEST(StreamCost, ComputingCostsWhatItTakes) {
  const LossPlan plan = PlanOf(DType::kF32, {10, 100});
  const StreamCost small(plan, 10, 80, 5000, 4);
  EXPECT_EQ(small.WithMessages(64 * kMiB), 80 + 80 + 2 * 4000 + 5000);
  EXPECT_EQ(small.WithMessages(400), 80 + 4 * 2 * 400 + 5000);
  EXPECT_EQ(small.upload_bytes(), 80 + 4000);
}

TEST(StreamCost, SaturatesAtTheLargestShapes) {
  const LossPlan plan = PlanOf(DType::kF32, {int64_t{1} << 49, 1024});
  const int64_t most = std::numeric_limits<int64_t>::max();
  const StreamCost cost(plan, plan.positions(), int64_t{1} << 62, 0, 4);
  EXPECT_GT(cost.Initial(64 * kMiB), int64_t{1} << 62);
  EXPECT_EQ(cost.WithMessages(most), most);
}

// --------------------------------------------------------------------- limits of this process

// A machine made of files.
class FakeRoot {
 public:
  FakeRoot() : path_(mkdtemp(name_)) {}
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  void Write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path_ + file).parent_path());
    std::ofstream(path_ + file) << text;
  }
  const std::string& path() const { return path_; }

 private:
  char name_[32] = "/tmp/lossd_root_XXXXXX";
  const std::string path_;
};

constexpr char kMemInfo[] = "MemTotal:       16000 kB\nMemFree: 12 kB\n";

TEST(MemoryLimit, PhysicalWhereNothingElseIsSaid) {
  const FakeRoot root;
  root.Write("/proc/meminfo", kMemInfo);
  EXPECT_EQ(MemoryLimit(root.path()), 16000 << 10);
  root.Write("/sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(root.path()), 16000 << 10);
}

TEST(MemoryLimit, Version2TheLeastOnTheWayUp) {
  const FakeRoot root;
  root.Write("/proc/meminfo", kMemInfo);
  root.Write("/proc/self/cgroup", "0::/jobs/lossd\n");
  root.Write("/sys/fs/cgroup/jobs/memory.max", "3000000\n");
  root.Write("/sys/fs/cgroup/jobs/lossd/memory.max", "5000000\n");
  EXPECT_EQ(MemoryLimit(root.path()), 3000000);
}

TEST(MemoryLimit, Version1OfTheMemoryController) {
  const FakeRoot root;
  root.Write("/proc/meminfo", kMemInfo);
  root.Write("/proc/self/cgroup", "7:cpu,cpuacct:/other\n4:memory:/lossd\n0::/\n");
  root.Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.Write("/sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1000\n");  // not ours
  EXPECT_EQ(MemoryLimit(root.path()), 16000 << 10);
  root.Write("/sys/fs/cgroup/memory/lossd/memory.limit_in_bytes", "4000000\n");
  EXPECT_EQ(MemoryLimit(root.path()), 4000000);
}

TEST(QuotaThreads, Version2) {
  const FakeRoot root;
  root.Write("/proc/self/cgroup", "0::/lossd\n");
  EXPECT_EQ(QuotaThreads(8, root.path()), 8);
  root.Write("/sys/fs/cgroup/lossd/cpu.max", "max 100000\n");
  EXPECT_EQ(QuotaThreads(8, root.path()), 8);
  root.Write("/sys/fs/cgroup/lossd/cpu.max", "250000 100000\n");
  EXPECT_EQ(QuotaThreads(8, root.path()), 3);
  EXPECT_EQ(QuotaThreads(2, root.path()), 2);
  root.Write("/sys/fs/cgroup/lossd/cpu.max", "1000 100000\n");
  EXPECT_EQ(QuotaThreads(8, root.path()), 1);
}

TEST(QuotaThreads, Version1) {
  const FakeRoot root;
  root.Write("/proc/self/cgroup", "3:cpu,cpuacct:/lossd\n");
  root.Write("/sys/fs/cgroup/cpu/lossd/cpu.cfs_period_us", "100000\n");
  root.Write("/sys/fs/cgroup/cpu/lossd/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(QuotaThreads(8, root.path()), 8);
  root.Write("/sys/fs/cgroup/cpu/lossd/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(QuotaThreads(8, root.path()), 2);
}

}  // namespace
}  // namespace lossd
