#include "server/admission/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Refusal, EveryReasonSurvivesItsStatusAndHasATokenOfItsOwn) {
  std::set<std::string_view> tokens;
  for (int i = 0; i < kRefusals; ++i) {
    const auto why = static_cast<Refusal>(i);
    const absl::Status status = Refuse(why, "in words");
    EXPECT_EQ(RefusalOf(status), why);
    EXPECT_EQ(status.message(), "in words");
    EXPECT_TRUE(tokens.insert(TokenOf(why)).second) << TokenOf(why);
    EXPECT_EQ(TrailersOf(status).at(0),
              std::pair(std::string("loss-reason"), std::string(TokenOf(why))));
  }
}

// What a client may repeat is told when; what it may not, is not.
TEST(Refusal, ExactlyWhatMayBeRepeatedHasATime) {
  for (int i = 0; i < kRefusals; ++i) {
    const auto why = static_cast<Refusal>(i);
    const absl::Status status = Refuse(why, "");
    const bool again = absl::IsUnavailable(status) || why == Refusal::kPeerQuota;
    EXPECT_EQ(TrailersOf(status).size(), again ? 2u : 1u) << TokenOf(why);
    // gRPC 1.85 never repeats a call that it is to repeat after 0 ms: it hangs until its deadline.
    if (again) {
      EXPECT_NE(TrailersOf(status).back().second, "0") << TokenOf(why);
    }
  }
  EXPECT_THAT(
      TrailersOf(Refuse(Refusal::kPeerQuota, "")),
      ElementsAre(Pair("loss-reason", "PEER_QUOTA"), Pair("grpc-retry-pushback-ms", "250")));
}

TEST(Refusal, WhatTheCoreRefusesHasAReasonToo) {
  EXPECT_EQ(RefusalOf(absl::ResourceExhaustedError("x")), Refusal::kTooLarge);
  EXPECT_EQ(RefusalOf(absl::UnavailableError("x")), Refusal::kOutOfMemory);
  for (const absl::Status& status :
       {absl::OkStatus(), absl::InvalidArgumentError("x"), absl::CancelledError("x"),
        absl::DeadlineExceededError("x"), absl::InternalError("x")}) {
    EXPECT_EQ(RefusalOf(status), std::nullopt) << status;
    EXPECT_THAT(TrailersOf(status), IsEmpty()) << status;
  }
}

}  // namespace
}  // namespace lossd
