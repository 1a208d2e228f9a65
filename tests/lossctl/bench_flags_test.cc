// Flags of lossctl bench: what they ask for, and what is refused, by name.
#include "client/lossctl/bench/bench_flags.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(BenchFlags, Defaults) {
  const absl::StatusOr<BenchPlan> plan = ReadBench({});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->problem.shape, ElementsAre(256, 1000));
  EXPECT_EQ(plan->problem.dtype, DType::kF32);
  EXPECT_EQ(plan->load.callers, 1);
  EXPECT_FALSE(plan->load.rate.has_value());
  EXPECT_EQ(plan->load.duration, absl::Seconds(10));
  EXPECT_EQ(plan->allowed_failures, 0);
}

TEST(BenchFlags, AllOfThemCount) {
  BenchFlags flags;
  flags.loss = "nll";
  flags.shape = "2x3x4";
  flags.dtype = "bf16";
  flags.inputs = "5";
  flags.seed = "6";
  flags.callers = "7";
  flags.rate = "12.5";
  flags.duration = "1m30s";
  flags.calls = "9";
  flags.transport = "stream";
  flags.connections = "3";
  flags.attempts = "1";
  flags.allow_failures = "11";
  flags.metrics = "a:1,b:2";
  flags.server.timeout = "4s";
  const absl::StatusOr<BenchPlan> plan = ReadBench(flags);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(std::holds_alternative<NllLoss>(plan->problem.loss));
  EXPECT_THAT(plan->problem.shape, ElementsAre(2, 3, 4));
  EXPECT_EQ(plan->problem.dtype, DType::kBF16);
  EXPECT_EQ(plan->problem.inputs, 5);
  EXPECT_EQ(plan->problem.seed, 6u);
  EXPECT_EQ(plan->load.callers, 7);
  EXPECT_EQ(plan->load.rate, 12.5);
  EXPECT_EQ(plan->load.duration, absl::Seconds(90));
  EXPECT_EQ(plan->load.calls, 9);
  EXPECT_EQ(plan->call.mode, TransferMode::kStream);
  EXPECT_EQ(plan->call.timeout, absl::Seconds(4));
  EXPECT_EQ(plan->client.channels, 3);
  EXPECT_EQ(plan->client.retry.max_attempts, 1);
  EXPECT_EQ(plan->allowed_failures, 11);
  EXPECT_EQ(plan->metrics.size(), 2u);
}

TEST(BenchFlags, ARateHasManyCallers) {
  BenchFlags flags;
  flags.rate = "100";
  EXPECT_EQ(ReadBench(flags)->load.callers, 64);
}

TEST(BenchFlags, RefusesByName) {
  const struct {
    FlagText BenchFlags::*flag;
    const char* value;
    const char* words;
  } kRows[] = {
      {&BenchFlags::loss, "zebra", "--loss is 'zebra'; wanted one of softmax"},
      {&BenchFlags::dtype, "i8", "--dtype is 'i8'; wanted one of f32, f64, f16, bf16"},
      {&BenchFlags::shape, "10", "--shape is '10'; wanted 2 to 8 extents"},
      {&BenchFlags::shape, "10x", "--shape is '10x'"},
      {&BenchFlags::shape, "10x0", "--shape is '10x0'"},
      {&BenchFlags::shape, "10x-1", "--shape is '10x-1'"},
      {&BenchFlags::shape, "1x1x1x1x1x1x1x1x1", "--shape"},
      {&BenchFlags::shape, "4294967296x4294967296", "at most 2^36 elements"},
      {&BenchFlags::shape, "65536x1048577", "at most 2^36 elements"},
      {&BenchFlags::rate, "0", "--rate is 0"},
      {&BenchFlags::rate, "nan", "--rate is nan"},
      {&BenchFlags::rate, "fast", "--rate is 'fast'; wanted a number"},
      {&BenchFlags::callers, "0", "--concurrency is 0; wanted 1..1024"},
      {&BenchFlags::callers, "1025", "--concurrency is 1025"},
      {&BenchFlags::duration, "0s", "--duration is '0s'"},
      {&BenchFlags::calls, "0", "--calls is 0"},
      {&BenchFlags::inputs, "0", "--inputs is 0"},
      {&BenchFlags::seed, "-1", "--seed is -1"},
      {&BenchFlags::connections, "65", "--connections is 65; wanted 1..64"},
      {&BenchFlags::attempts, "0", "--attempts is 0"},
      {&BenchFlags::allow_failures, "-1", "--allow-failures is -1"},
      {&BenchFlags::transport, "pigeon", "--transport is 'pigeon'"},
      {&BenchFlags::metrics, "a:1,b", "--metrics has 'b'; wanted host:port"},
  };
  for (const auto& row : kRows) {
    BenchFlags flags;
    flags.*row.flag = row.value;
    const absl::Status error = ReadBench(flags).status();
    EXPECT_TRUE(absl::IsInvalidArgument(error)) << row.value;
    EXPECT_THAT(std::string(error.message()), HasSubstr(row.words));
  }
}

}  // namespace
}  // namespace lossd::lossctl
