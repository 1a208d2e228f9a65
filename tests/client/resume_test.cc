// Calls that break and are replayed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/client/doubling_fixture.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

absl::Status Down() { return absl::UnavailableError("connection lost"); }

// Blocks of one plane each.
const ClientOptions kPlanes{.block_bytes = Doubling::kPlaneBytes};

TEST(Resume, UnaryIsSentAgain) {
  Doubling world({{.failure = Down()}, {.failure = Down()}, {}});
  const auto result = world.client().Compute({}, world.inputs(), world.in_place());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(world.records(), SizeIs(3));
  EXPECT_EQ(world.predictions(), world.doubled());
}

TEST(Resume, WaitsGrowAndAreJittered) {
  Doubling world({{.failure = Down()}}, {.retry = {.max_attempts = 6,
                                                   .initial_backoff = absl::Milliseconds(20),
                                                   .max_backoff = absl::Milliseconds(100),
                                                   .multiplier = 2}});
  const absl::Status error = world.client().Compute({}, world.inputs(), {}).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("given up after 6 attempts"));
  ASSERT_THAT(world.records(), SizeIs(6));
  const int backoffs[] = {20, 40, 80, 100, 100};
  for (int i = 0; i < 5; ++i) {
    const absl::Duration wait = world.records()[i + 1]->time - world.records()[i]->time;
    EXPECT_GE(wait, absl::Milliseconds(backoffs[i]) / 2);
    EXPECT_LE(wait, absl::Milliseconds(backoffs[i]));
  }
}

TEST(Resume, TheDeadlineHoldsOverAllAttempts) {
  Doubling world({{.failure = Down()}}, {.retry = {.max_attempts = 1000,
                                                   .initial_backoff = absl::Milliseconds(100),
                                                   .max_backoff = absl::Milliseconds(100)}});
  const absl::Time start = world.transport().Now();
  const absl::Status error =
      world.client().Compute({}, world.inputs(), {}, {.timeout = absl::Seconds(1)}).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(error.message()), HasSubstr("connection lost"));
  EXPECT_LE(world.transport().Now() - start, absl::Seconds(1));
  EXPECT_GE(world.records().size(), 10u);
  EXPECT_LE(world.records().size(), 20u);
}

TEST(Resume, AServerThatNeverEndsMeetsTheDeadline) {
  Doubling world({Script{.never_ends = true}});
  const absl::Time start = world.transport().Now();
  EXPECT_EQ(world.Stream().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(world.transport().Now() - start, ClientOptions().timeout);
  EXPECT_THAT(world.records(), SizeIs(1));
}

TEST(Resume, OtherErrorsAreFinal) {
  for (const absl::StatusCode code : {absl::StatusCode::kInvalidArgument,
                                      absl::StatusCode::kInternal, absl::StatusCode::kAborted}) {
    const absl::Status refusal(code, "the server's own words");
    Doubling world({{.failure = refusal, .blocks_before_failure = 2}}, kPlanes);
    EXPECT_EQ(world.Stream().status(), refusal);
    EXPECT_EQ(world.client().Compute({}, world.inputs(), {}).status(), refusal);
    EXPECT_THAT(world.records(), SizeIs(2));
  }
}

TEST(Resume, OnlyUnansweredBlocksAreSentAgain) {
  Doubling world({{.failure = Down(), .blocks_before_failure = 2},
                  {.failure = Down(), .blocks_before_failure = 3},
                  {}},
                 kPlanes);
  const auto result =
      world.client().Compute({}, world.inputs(), world.in_place(), {.mode = TransferMode::kStream});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(world.predictions(), world.doubled());
  ASSERT_THAT(world.records(), SizeIs(3));
  EXPECT_THAT(world.records()[0]->header_boxes, IsEmpty());
  EXPECT_THAT(world.records()[1]->header_boxes, ElementsAre(Box{2, 4, 0, 5}));
  EXPECT_THAT(world.records()[2]->header_boxes, ElementsAre(Box{5, 1, 0, 5}));
  EXPECT_THAT(world.records()[2]->blocks, ElementsAre(Box{5, 1, 0, 5}));
}

TEST(Resume, SumsOfAllAttemptsAreMerged) {
  Doubling world({{.failure = Down(), .blocks_before_failure = 4}, {}}, kPlanes);
  const auto result = world.Stream();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss_sum, Doubling::kSum);
  EXPECT_EQ(result->denominator, 120);
  EXPECT_EQ(result->loss, Doubling::kSum / 120);
  EXPECT_EQ(result->position_count, 30);
  EXPECT_EQ(result->exact.position_count, 30);
  EXPECT_EQ(result->exact.loss_sum.Round(), Doubling::kSum);
}

TEST(Resume, AnswersInAnyOrderLeaveTheRightHoles) {
  const auto keep_second_and_fifth = [](std::vector<wire::Message>& answer) {
    answer = {answer[4], answer[1]};
  };
  Doubling world(
      {{.failure = Down(), .fail_before_summary = true, .meddle = keep_second_and_fifth}, {}},
      kPlanes);
  const auto result =
      world.client().Compute({}, world.inputs(), world.in_place(), {.mode = TransferMode::kStream});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(world.predictions(), world.doubled());
  EXPECT_THAT(world.records()[1]->header_boxes,
              ElementsAre(Box{0, 1, 0, 5}, Box{2, 2, 0, 5}, Box{5, 1, 0, 5}));
}

// Nothing could be replayed in place if every block were answered, and D would not be known.
TEST(Resume, ACallThatBreaksBeforeItsSummaryStillHasABlockToReplay) {
  Doubling world({{.failure = Down(), .fail_before_summary = true}, {}}, kPlanes);
  const auto result =
      world.client().Compute({}, world.inputs(), world.in_place(), {.mode = TransferMode::kStream});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(world.predictions(), world.doubled());
  EXPECT_EQ(result->loss_sum, Doubling::kSum);
  EXPECT_THAT(world.records()[1]->blocks, ElementsAre(Box{5, 1, 0, 5}));
}

TEST(Resume, InnerRangesAreResumedToo) {
  Doubling world({{.failure = Down(), .blocks_before_failure = 7}, {}}, {.block_bytes = 32});
  const auto result =
      world.client().Compute({}, world.inputs(), world.in_place(), {.mode = TransferMode::kStream});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(world.predictions(), world.doubled());
  EXPECT_THAT(world.records()[1]->header_boxes, ElementsAre(Box{2, 1, 2, 3}, Box{3, 3, 0, 5}));
}

}  // namespace
}  // namespace lossd
