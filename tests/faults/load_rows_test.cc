// Rows 41 and 42: who gets the machine when there is more to do than it can.
#include <algorithm>
#include <cstdio>
#include <semaphore>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/endless_streams.h"
#include "tests/faults/row.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using testing::Problem;

constexpr int64_t kLargeBlockRows = 32;        // 4 MiB
constexpr int64_t kShortBlockRows = 32 << 10;  // 256 KiB

class LoadRows : public Row {
 protected:
  // The slowest but one in a hundred of calls of 32x10, one after the other.
  absl::Duration TailOfSmallCalls() const {
    constexpr int kCalls = 500;
    const auto stub = Stub();
    const v1::ComputeRequest request = Problem(32, 10).Request();
    std::vector<absl::Duration> times;
    for (int i = 0; i < kCalls; ++i) {
      grpc::ClientContext context;
      v1::ComputeResponse response;
      const absl::Time begin = absl::Now();
      EXPECT_TRUE(stub->Compute(&context, request, &response).ok());
      times.push_back(absl::Now() - begin);
    }
    std::sort(times.begin(), times.end());
    return times[kCalls * 99 / 100];
  }
};

// Blocks that are answered in a second or so, after a beginning that does not count.
double BlocksPerSecond(const EndlessStreams& streams) {
  EXPECT_TRUE(HoldsWithin(absl::Seconds(100), [&] { return streams.answered() > 50; }));
  const int64_t before = streams.answered();
  const absl::Time begin = absl::Now();
  HoldsWithin(absl::Seconds(1), [] { return false; });
  return static_cast<double>(streams.answered() - before) /
         absl::ToDoubleSeconds(absl::Now() - begin);
}

TEST_F(LoadRows, Row41_SmallBesideLarge) {
  Serve();
  const absl::Duration alone = TailOfSmallCalls();
  absl::Duration beside;
  {
    const EndlessStreams large(address(), 1, EndlessStreams::LargeRows(), kLargeBlockRows);
    ASSERT_GT(BlocksPerSecond(large), 0);
    beside = TailOfSmallCalls();
    EXPECT_EQ(large.ended(), 0);
  }
  std::printf("  p99 of 32x10: %s alone, %s beside a large stream\n",
              absl::FormatDuration(alone).c_str(), absl::FormatDuration(beside).c_str());
  EXPECT_LE(beside, 3 * alone + absl::Milliseconds(20));
}

TEST_F(LoadRows, Row41_LargeBesideAFloodOfSmall) {
  Serve();
  const EndlessStreams large(address(), 1, EndlessStreams::LargeRows(), kLargeBlockRows);
  const double alone = BlocksPerSecond(large);
  constexpr int kInFlight = 64;
  Client client = *Client::Connect(address());
  const Problem problem(32, 10);
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(problem.predictions, {32, 10});
  inputs.targets = TensorView::Of<int64_t>(problem.labels, {32});
  std::vector<float> gradient(problem.gradient.size());
  std::counting_semaphore<> slots(kInFlight);
  std::atomic<bool> stop = false;
  std::atomic<int64_t> calls = 0;
  std::thread flood([&] {
    while (!stop) {
      slots.acquire();
      client.ComputeAsync(LossSpec{}, inputs, {}, {},
                          [&](const absl::StatusOr<LossResult>& result) {
                            EXPECT_TRUE(result.ok()) << result.status();
                            ++calls;
                            slots.release();
                          });
    }
    for (int i = 0; i < kInFlight; ++i) slots.acquire();
  });
  EXPECT_TRUE(HoldsWithin(absl::Seconds(100), [&] { return calls > 1000; }));
  const int64_t before = calls;
  const double flooded = BlocksPerSecond(large);
  std::printf("  blocks of 4 MiB a second: %.0f alone, %.0f beside %ld small calls\n", alone,
              flooded, static_cast<long>(calls - before));
  stop = true;
  flood.join();
  EXPECT_GE(flooded, 0.2 * alone);
  EXPECT_EQ(large.ended(), 0);
}

// Two peers want all of the computing, one with eight streams, one with a single one; a third, the
// victim, wants little.
TEST_F(LoadRows, Row42_OnePeerWantsEverything) {
  const TempDir scratch;
  const std::string socket = "unix:" + scratch.Path("lossd.sock");
  Serve({"--threads=1"}, {"[::1]:0", socket});
  const EndlessStreams many(server().addresses()[1], 8, EndlessStreams::ShortRows(),
                            kShortBlockRows);
  const EndlessStreams one(socket, 1, EndlessStreams::ShortRows(), kShortBlockRows);
  constexpr int64_t kBlocks = 400;
  ASSERT_TRUE(HoldsWithin(absl::Seconds(60), [&] { return one.answered() > 20; }));
  const int64_t many_before = many.answered(), one_before = one.answered();
  ASSERT_TRUE(HoldsWithin(absl::Seconds(400), [&] {  // with sanitizers; else a few
    return many.answered() - many_before + one.answered() - one_before > kBlocks;
  }));
  const auto of_many = static_cast<double>(many.answered() - many_before);
  const auto of_one = static_cast<double>(one.answered() - one_before);
  std::printf("  eight streams got %.0f blocks, one got %.0f\n", of_many, of_one);
  EXPECT_GE(of_one / (of_one + of_many), 0.45);
  EXPECT_LE(of_one / (of_one + of_many), 0.55);
  EXPECT_EQ(many.ended() + one.ended(), 0);
}

}  // namespace
}  // namespace lossd
