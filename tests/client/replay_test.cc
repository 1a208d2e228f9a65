#include "client/call/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/transport/transport.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

constexpr absl::Time kStart = absl::UnixEpoch();
const RetryPolicy kPolicy{.max_attempts = 5,
                          .initial_backoff = absl::Milliseconds(20),
                          .max_backoff = absl::Milliseconds(100),
                          .multiplier = 2};

absl::Status Down() { return absl::UnavailableError("nobody there"); }

absl::Status DownWithPushback(absl::string_view milliseconds) {
  absl::Status status = Down();
  status.SetPayload(absl::string_view(kPushbackPayload.data(), kPushbackPayload.size()),
                    absl::Cord(milliseconds));
  return status;
}

absl::Status Refused(absl::StatusCode code, absl::string_view reason,
                     absl::string_view milliseconds) {
  absl::Status status(code, "turned away");
  const auto set = [&](std::string_view key, absl::string_view value) {
    if (value.empty()) return;
    status.SetPayload(absl::string_view(key.data(), key.size()), absl::Cord(value));
  };
  set(kReasonPayload, reason);
  set(kPushbackPayload, milliseconds);
  return status;
}

Replay Make(const RetryPolicy& policy, double uniform, absl::Duration timeout = absl::Hours(1)) {
  return Replay(policy, kStart + timeout, [uniform] { return uniform; });
}

TEST(Replay, WaitsGrowUpToTheLimit) {
  Replay replay = Make(kPolicy, 1);
  for (const int wait : {20, 40, 80, 100}) {
    EXPECT_EQ(*replay.AfterFailure(Down(), kStart), absl::Milliseconds(wait));
  }
}

TEST(Replay, JitterIsFromHalfToWhole) {
  EXPECT_EQ(*Make(kPolicy, 0).AfterFailure(Down(), kStart), absl::Milliseconds(10));
  EXPECT_EQ(*Make(kPolicy, 0.5).AfterFailure(Down(), kStart), absl::Milliseconds(15));
}

TEST(Replay, GivesUpAfterTheLastAttempt) {
  Replay replay = Make({.max_attempts = 2}, 0);
  ASSERT_TRUE(replay.AfterFailure(Down(), kStart).ok());
  const absl::Status error = replay.AfterFailure(Down(), kStart).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("nobody there (given up after 2 attempts)"));
}

TEST(Replay, TheReasonOfTheLastAttemptIsKept) {
  Replay replay = Make({.max_attempts = 2}, 0);
  ASSERT_TRUE(replay.AfterFailure(Down(), kStart).ok());
  const absl::Status error = Refused(absl::StatusCode::kUnavailable, "A_LATER_ONE", "");
  EXPECT_EQ(LossReason(replay.AfterFailure(error, kStart).status()), "A_LATER_ONE");
  EXPECT_EQ(LossReason(Down()), "");
  EXPECT_EQ(LossReason(absl::OkStatus()), "");
}

TEST(Replay, OneAttemptIsReportedAsItIs) {
  EXPECT_EQ(Make({.max_attempts = 1}, 0).AfterFailure(Down(), kStart).status(), Down());
}

TEST(Replay, OtherCodesAreNotTriedAgain) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status error(static_cast<absl::StatusCode>(code), "as the server said");
    if (absl::IsUnavailable(error) || absl::IsResourceExhausted(error)) continue;
    if (absl::IsCancelled(error)) continue;
    EXPECT_EQ(Make(kPolicy, 0).AfterFailure(error, kStart).status(), error);
  }
}

TEST(Replay, WhatAServerThatEndsResetsIsTriedAgain) {
  EXPECT_TRUE(Make(kPolicy, 0).AfterFailure(absl::CancelledError("CANCELLED"), kStart).ok());
}

// Nor does what never reached a server, while another one is there, count as an attempt.
TEST(Replay, AnUnsentCallIsMadeElsewhereAtOnce) {
  absl::Status unsent = Down();
  unsent.SetPayload(absl::string_view(kUnsentPayload.data(), kUnsentPayload.size()), absl::Cord());
  Replay replay = Make(kPolicy, 1, absl::Seconds(1));
  for (int i = 0; i < 100; ++i) {
    const absl::StatusOr<absl::Duration> wait = replay.AfterFailure(unsent, kStart);
    ASSERT_TRUE(wait.ok()) << wait.status();
    EXPECT_EQ(*wait, absl::ZeroDuration());
  }
  EXPECT_TRUE(replay.AfterFailure(Down(), kStart).ok());
  EXPECT_FALSE(replay.AfterFailure(unsent, kStart + absl::Seconds(1)).ok());
}

TEST(Replay, NoWaitPastTheDeadline) {
  Replay replay = Make(kPolicy, 1, absl::Milliseconds(50));
  ASSERT_TRUE(replay.AfterFailure(Down(), kStart).ok());
  const absl::Status error = replay.AfterFailure(Down(), kStart + absl::Milliseconds(20)).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(error.message()), HasSubstr("after 2 attempts"));
  EXPECT_THAT(std::string(error.message()), HasSubstr("nobody there"));
}

TEST(Replay, ServersWishIsHeeded) {
  EXPECT_EQ(*Make(kPolicy, 1).AfterFailure(DownWithPushback("700"), kStart),
            absl::Milliseconds(700));
  EXPECT_EQ(*Make(kPolicy, 1).AfterFailure(DownWithPushback("1"), kStart), absl::Milliseconds(20));
  for (const char* never : {"-1", "soon"}) {
    EXPECT_EQ(Make(kPolicy, 1).AfterFailure(DownWithPushback(never), kStart).status(), Down());
  }
}

TEST(Replay, WhatIsTooLargeForTheServerStaysSo) {
  for (const char* reason : {"TOO_LARGE", "A_REASON_OF_A_LATER_SERVER"}) {
    const absl::Status error = Refused(absl::StatusCode::kResourceExhausted, reason, "");
    EXPECT_EQ(Make(kPolicy, 1).AfterFailure(error, kStart).status(), error);
    EXPECT_EQ(LossReason(error), reason);
  }
}

TEST(Replay, ExhaustionOnTheWayIsTriedOnceMore) {
  Replay replay = Make(kPolicy, 1);
  const absl::Status error = absl::ResourceExhaustedError("turned away");
  EXPECT_EQ(*replay.AfterFailure(error, kStart), absl::Milliseconds(20));
  EXPECT_EQ(replay.AfterFailure(error, kStart).status(), error);
  EXPECT_EQ(Make({.max_attempts = 1}, 1).AfterFailure(error, kStart).status(), error);
}

TEST(Replay, APeerOverItsQuotaComesBackWhenTold) {
  const absl::Status error = Refused(absl::StatusCode::kResourceExhausted, "PEER_QUOTA", "300");
  EXPECT_EQ(*Make(kPolicy, 1).AfterFailure(error, kStart), absl::Milliseconds(300));
  EXPECT_EQ(Make({.max_attempts = 1}, 1).AfterFailure(error, kStart).status(),
            Refused(absl::StatusCode::kResourceExhausted, "PEER_QUOTA", ""));
}

TEST(Replay, AnOverloadedServerIsAskedUntilTheDeadline) {
  Replay replay = Make({.max_attempts = 2, .max_backoff = absl::Milliseconds(20)}, 1,
                       /*timeout=*/absl::Seconds(1));
  absl::Time now = kStart;
  int attempts = 0;
  absl::StatusOr<absl::Duration> wait = absl::ZeroDuration();
  for (; wait.ok() && attempts < 100; ++attempts, now += wait.value_or(absl::ZeroDuration())) {
    wait = replay.AfterFailure(Refused(absl::StatusCode::kUnavailable, "QUEUE_FULL", "100"), now);
  }
  EXPECT_EQ(attempts, 10);
  EXPECT_EQ(wait.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(wait.status().message()), HasSubstr("after 10 attempts"));
  EXPECT_EQ(LossReason(wait.status()), "QUEUE_FULL");
  // One that has gone is not.
  Replay gone = Make({.max_attempts = 2}, 1);
  ASSERT_TRUE(gone.AfterFailure(DownWithPushback("100"), kStart).ok());
  EXPECT_EQ(gone.AfterFailure(DownWithPushback("100"), kStart).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace lossd
