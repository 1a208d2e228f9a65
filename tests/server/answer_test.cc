#include "server/calls/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Guarded, WhatIsThrownBecomesAStatus) {
  EXPECT_EQ(Guarded([]() -> absl::Status { throw std::bad_alloc(); }).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Guarded([]() -> absl::Status { throw std::runtime_error("odd"); }).code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(Guarded([] { return absl::NotFoundError("x"); }), absl::NotFoundError("x"));
}

TEST(Conclude, MistakesOfOursAreLoggedInFullAndShortOnTheWire) {
  AdmissionCounters counters;
  grpc::ServerContext context;
  ::testing::internal::CaptureStderr();
  const grpc::Status status =
      Conclude("Compute", absl::InternalError("secret detail"), counters, context);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "lossd: Compute failed: INTERNAL: secret detail\n");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), Not(HasSubstr("secret")));
}

TEST(Conclude, MistakesOfTheClientAreNot) {
  AdmissionCounters counters;
  grpc::ServerContext context;
  ::testing::internal::CaptureStderr();
  const grpc::Status status =
      Conclude("Compute", absl::InvalidArgumentError("x is 3"), counters, context);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "x is 3");
  EXPECT_TRUE(Conclude("Compute", absl::OkStatus(), counters, context).ok());
}

}  // namespace
}  // namespace lossd
