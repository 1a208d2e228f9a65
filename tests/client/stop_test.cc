// Calls that their caller gives up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>

#include "tests/client/doubling_fixture.h"

namespace lossd {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// Says yes when it is asked for the `yes`th time.
struct Asker {
  explicit Asker(int yes_in) : yes(yes_in) {}

  CallOptions Options(TransferMode mode, int fan_out = 1) {
    return {.mode = mode, .fan_out = fan_out, .stop = [this] { return ++asked == yes; }};
  }

  int yes;
  int asked = 0;
};

// Waits long before another attempt.
const ClientOptions kPatient{
    .retry = {.initial_backoff = absl::Seconds(60), .max_backoff = absl::Seconds(60)}};

absl::Status Down() { return absl::UnavailableError("connection lost"); }

void ExpectStopped(const absl::Status& status) {
  EXPECT_EQ(status, absl::CancelledError("the caller gave the call up"));
}

TEST(Stop, AskedFirstNothingIsSent) {
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    Doubling world;
    Asker asker(1);
    ExpectStopped(
        world.client().Compute({}, world.inputs(), world.into(), asker.Options(mode)).status());
    EXPECT_THAT(world.records(), IsEmpty());
  }
}

TEST(Stop, EndsAStreamThatIsUnderWay) {
  Doubling world({Script{.never_ends = true}});
  const absl::Time start = world.transport().Now();
  Asker asker(4);
  ExpectStopped(world.client()
                    .Compute({}, world.inputs(), world.into(), asker.Options(TransferMode::kStream))
                    .status());
  EXPECT_EQ(world.transport().Now() - start, 3 * absl::Milliseconds(50));
  EXPECT_EQ(asker.asked, 4);
  EXPECT_THAT(world.records(), SizeIs(1));
}

TEST(Stop, EndsTheWaitForAnotherAttempt) {
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    Doubling world({{.failure = Down()}}, kPatient);
    const absl::Time start = world.transport().Now();
    Asker asker(3);
    ExpectStopped(
        world.client().Compute({}, world.inputs(), world.into(), asker.Options(mode)).status());
    EXPECT_EQ(world.transport().Now() - start, 2 * absl::Milliseconds(50));
    EXPECT_THAT(world.records(), SizeIs(1));
  }
}

TEST(Stop, EndsAllPartsOfAFanOut) {
  for (const int down : {0, 1, 2}) {  // part that waits for another attempt; the others are stuck
    std::vector<Script> scripts(3, Script{.never_ends = true});
    scripts[down] = {.failure = Down()};
    Doubling world(scripts, kPatient);
    Asker asker(3);
    ExpectStopped(
        world.client()
            .Compute({}, world.inputs(), world.into(), asker.Options(TransferMode::kStream, 3))
            .status());
    EXPECT_THAT(world.records(), SizeIs(3));
  }
  Doubling world({{.failure = Down()}}, kPatient);  // and where all wait
  Asker asker(3);
  ExpectStopped(
      world.client()
          .Compute({}, world.inputs(), world.into(), asker.Options(TransferMode::kStream, 3))
          .status());
}

TEST(Stop, EndsAsynchronousCalls) {
  Doubling world({Script{.never_ends = true}});
  Asker asker(3);
  ExpectStopped(
      world.client()
          .ComputeAsync({}, world.inputs(), world.into(), asker.Options(TransferMode::kStream))
          .get()
          .status());
}

TEST(Stop, ANoChangesNothing) {
  for (const int fan_out : {1, 3}) {
    for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
      Doubling world({{.failure = Down()}, {}});
      Asker asker(0);
      const auto result =
          world.client().Compute({}, world.inputs(), world.into(), asker.Options(mode, fan_out));
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(world.gradient(), world.doubled());
      const int asked = asker.asked;
      // The next call does not ask for this one.
      ASSERT_TRUE(world.Stream().ok());
      EXPECT_EQ(asker.asked, asked);
    }
  }
}

TEST(Stop, AfterARefusalNobodyIsAsked) {
  Doubling world({{.failure = absl::InvalidArgumentError("labels[7] is 9")}});
  Asker asker(2);
  EXPECT_EQ(world.client()
                .Compute({}, world.inputs(), world.into(), asker.Options(TransferMode::kStream))
                .status(),
            absl::InvalidArgumentError("labels[7] is 9"));
  EXPECT_EQ(asker.asked, 1);
}

}  // namespace
}  // namespace lossd
