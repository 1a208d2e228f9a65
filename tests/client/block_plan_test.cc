#include "client/call/block_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "client/call/answer_size.h"
#include "lossd/client.h"

namespace lossd {
namespace {

uint64_t Seed() {
  const char* text = std::getenv("LOSSD_TEST_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 20240607;
}

// Adds 1 to every position of a box.
void Paint(const Box& box, int64_t inner, std::vector<int>& times) {
  for (int64_t o = 0; o < box.outer_count; ++o) {
    for (int64_t i = 0; i < box.inner_count; ++i) {
      ++times.at((box.outer_begin + o) * inner + box.inner_begin + i);
    }
  }
}

TEST(BlockPlan, WholePlanesWhileOneFits) {
  const Geometry geometry{.outer = 10, .classes = 4, .inner = 5, .prediction_size = 4};
  const BlockPlan plan(geometry, 3 * 4 * 5 * 4 + 79);  // 80 bytes a plane: three fit
  ASSERT_EQ(plan.count(), 4);
  EXPECT_EQ(plan.At(0), (Box{0, 3, 0, 5}));
  EXPECT_EQ(plan.At(3), (Box{9, 1, 0, 5}));
}

TEST(BlockPlan, InnerRangesWhereAPlaneDoesNotFit) {
  const Geometry geometry{.outer = 2, .classes = 4, .inner = 5, .prediction_size = 4};
  const BlockPlan plan(geometry, 79);  // 16 bytes a position: four fit
  ASSERT_EQ(plan.count(), 4);
  EXPECT_EQ(plan.At(0), (Box{0, 1, 0, 4}));
  EXPECT_EQ(plan.At(1), (Box{0, 1, 4, 1}));
  EXPECT_EQ(plan.At(2), (Box{1, 1, 0, 4}));
}

TEST(BlockPlan, TargetsInTheBlocksCount) {
  const Geometry geometry{
      .outer = 8, .classes = 4, .inner = 1, .prediction_size = 2, .probability_size = 6};
  EXPECT_EQ(BlockPlan(geometry, 64).At(0), (Box{0, 2, 0, 1}));
}

TEST(BlockPlan, AtLeastOnePositionHoweverLarge) {
  const Geometry geometry{
      .outer = 3, .classes = int64_t{1} << 40, .inner = 2, .prediction_size = 8};
  EXPECT_EQ(BlockPlan(geometry, 1).count(), 6);
}

TEST(BlockPlan, NoPositionsNoBlocks) {
  EXPECT_EQ(BlockPlan({.outer = 0, .classes = 3, .inner = 7, .prediction_size = 4}, 8).count(), 0);
  EXPECT_EQ(BlockPlan({.outer = 7, .classes = 3, .inner = 0, .prediction_size = 4}, 8).count(), 0);
}

TEST(BlockPlan, CoversEveryPositionOnceAndKnowsItsBlocks) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const auto upto = [&](int64_t n) { return static_cast<int64_t>(random() % n) + 1; };
  for (int round = 0; round < 500; ++round) {
    const Geometry geometry{
        .outer = upto(12), .classes = upto(9), .inner = upto(12), .prediction_size = 4};
    const BlockPlan plan(geometry, upto(600));
    std::vector<int> times(geometry.positions());
    std::vector<int> missing(geometry.positions());
    std::vector<bool> answered(plan.count());
    for (int64_t i = 0; i < plan.count(); ++i) {
      const Box box = plan.At(i);
      Paint(box, geometry.inner, times);
      EXPECT_EQ(plan.IndexOf(box), i);
      Box off = box;
      ++off.inner_count;
      EXPECT_EQ(plan.IndexOf(off), std::nullopt);
      answered[i] = random() % 3 == 0;
      if (answered[i]) Paint(box, geometry.inner, missing);
    }
    EXPECT_EQ(times, std::vector<int>(times.size(), 1));
    for (const Box& box : plan.Missing(answered)) Paint(box, geometry.inner, missing);
    EXPECT_EQ(missing, times);
  }
}

TEST(BlockPlan, MissingIsMergedIntoFewBoxes) {
  const BlockPlan plan({.outer = 100, .classes = 2, .inner = 64, .prediction_size = 4}, 64);
  std::vector<bool> answered(plan.count(), false);
  EXPECT_EQ(plan.Missing(answered), (std::vector<Box>{{0, 100, 0, 64}}));
  answered[3] = true;  // positions 24..32 of the first plane
  EXPECT_EQ(plan.Missing(answered),
            (std::vector<Box>{{0, 1, 0, 24}, {0, 1, 32, 32}, {1, 99, 0, 64}}));
}

TEST(BlockPlan, ForeignBoxesAreNone) {
  const BlockPlan plan({.outer = 4, .classes = 2, .inner = 6, .prediction_size = 4}, 16);
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  for (const Box& box : {Box{-1, 1, 0, 2}, Box{4, 1, 0, 2}, Box{0, 1, 1, 2}, Box{0, 1, 6, 2},
                         Box{0, 0, 0, 0}, Box{kHuge, 1, kHuge, 1}, Box{0, kHuge, 0, kHuge}}) {
    EXPECT_EQ(plan.IndexOf(box), std::nullopt);
  }
}

// What docs/client.md says of stubs that take 4 MiB.
TEST(AnswerSize, GradientsOfDefaultBlocksAndAllOutputsOfSmallerOnesAreBelow4MiB) {
  constexpr int64_t kStubsTake = 4 << 20;
  std::vector<std::byte> one(1);
  const LossOutputs gradient = {.gradient = absl::MakeSpan(one)};
  const LossOutputs all = {.gradient = absl::MakeSpan(one),
                           .position_losses = absl::MakeSpan(one),
                           .log_sum_exp = absl::MakeSpan(one),
                           .argmax_hits = absl::MakeSpan(one),
                           .probabilities = absl::MakeSpan(one)};
  const auto largest = [](const LossOutputs& into, int64_t classes, int64_t size,
                          int64_t gradient_size, int64_t block_bytes) {
    ComputeJob job;
    job.into = into;
    job.geometry = Geometry{.outer = 1 << 24,
                            .classes = classes,
                            .inner = 1,
                            .prediction_size = size,
                            .gradient_size = gradient_size};
    return BlockAnswerBytes(job, BlockPlan(*job.geometry, block_bytes)) + 1024;
  };
  for (const int64_t size : {2, 4, 8}) {
    for (const int64_t classes : {10, 1000, 100000}) {
      EXPECT_LT(largest(gradient, classes, size, size, ClientOptions().block_bytes), kStubsTake);
      EXPECT_LT(largest(all, classes, size, std::min<int64_t>(8, 2 * size), 1 << 20), kStubsTake);
    }
  }
  EXPECT_EQ(largest(all, 10, 4, 4, 400), 10 * (40 + 40 + 8 + 8 + 1) + 1024);
}

}  // namespace
}  // namespace lossd
