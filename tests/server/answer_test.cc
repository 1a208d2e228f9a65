#include "server/calls/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <new>
#include <stdexcept>
#include <string>

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST(Guarded, WhatIsThrownBecomesAStatus) {
  EXPECT_EQ(Guarded([]() -> absl::Status { throw std::bad_alloc(); }).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Guarded([]() -> absl::Status { throw std::runtime_error("odd"); }).code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(Guarded([] { return absl::NotFoundError("x"); }), absl::NotFoundError("x"));
}

// The answer to a call that ended with `status`, and what the log says then.
grpc::Status Concluded(const absl::Status& status, std::string& logged) {
  AdmissionCounters counters;
  grpc::Status answer;
  ::testing::internal::CaptureStderr();
  {
    Log log(LogOptions{});
    grpc::ServerContext context;
    CallRecord call(&log, nullptr, nullptr, Method::kCompute);
    call.Began(context, std::chrono::steady_clock::now());
    call.Received(17);
    answer = Conclude(call, status, counters, context);
  }
  logged = ::testing::internal::GetCapturedStderr();
  return answer;
}

TEST(Conclude, MistakesOfOursAreLoggedInFullAndShortOnTheWire) {
  std::string logged;
  const grpc::Status status = Concluded(absl::InternalError("secret detail"), logged);
  EXPECT_THAT(logged, MatchesRegex("[^ ]+Z error call request_id=[0-9a-f]+ method=Compute "
                                   "code=INTERNAL reason=\"\" duration_us=[0-9]+ "
                                   "request_bytes=17 response_bytes=0 "
                                   "message=\"secret detail\"\n"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), Not(HasSubstr("secret")));
}

TEST(Conclude, MistakesOfTheClientAreNot) {
  std::string logged;
  const grpc::Status status = Concluded(absl::InvalidArgumentError("x is 3"), logged);
  EXPECT_THAT(logged, HasSubstr(" warning call "));
  EXPECT_THAT(logged, Not(HasSubstr("x is 3")));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "x is 3");
  EXPECT_TRUE(Concluded(absl::OkStatus(), logged).ok());
  EXPECT_EQ(logged, "");
}

TEST(Conclude, TheLogHasTheWordOfARefusal) {
  std::string logged;
  Concluded(absl::ResourceExhaustedError("x is too large"), logged);
  EXPECT_THAT(logged, HasSubstr("code=RESOURCE_EXHAUSTED reason=TOO_LARGE"));
}

}  // namespace
}  // namespace lossd
