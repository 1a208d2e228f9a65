#include "protos/wire/grpc_status.h"

#include <gtest/gtest.h>

#include <string>

namespace lossd::wire {
namespace {

struct Pair {
  absl::StatusCode ours;
  grpc::StatusCode theirs;
};
// By name, so that neither the order nor the numbers of the code under test come in.
constexpr Pair kPairs[] = {
    {absl::StatusCode::kOk, grpc::StatusCode::OK},
    {absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED},
    {absl::StatusCode::kUnknown, grpc::StatusCode::UNKNOWN},
    {absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
    {absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
    {absl::StatusCode::kNotFound, grpc::StatusCode::NOT_FOUND},
    {absl::StatusCode::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
    {absl::StatusCode::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
    {absl::StatusCode::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
    {absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
    {absl::StatusCode::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
    {absl::StatusCode::kAborted, grpc::StatusCode::ABORTED},
    {absl::StatusCode::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
    {absl::StatusCode::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
    {absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
    {absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
    {absl::StatusCode::kDataLoss, grpc::StatusCode::DATA_LOSS},
};
static_assert(std::size(kPairs) == 17);

TEST(GrpcStatus, EveryCodeBothWays) {
  for (const auto [ours, theirs] : kPairs) {
    const std::string text = ours == absl::StatusCode::kOk ? "" : "what was wrong";
    const grpc::Status out = ToGrpc(absl::Status(ours, text));
    EXPECT_EQ(out.error_code(), theirs);
    EXPECT_EQ(out.error_message(), text);
    EXPECT_EQ(FromGrpc(grpc::Status(theirs, text)), absl::Status(ours, text));
  }
}

TEST(GrpcStatus, CodeThatNobodyKnows) {
  for (const int code : {17, 31, -1, -2}) {
    const grpc::Status strange(static_cast<grpc::StatusCode>(code), "strange");
    EXPECT_EQ(FromGrpc(strange), absl::UnknownError("strange"));
  }
}

TEST(GrpcStatus, LongMessageIsCut) {
  const auto cut = [](const std::string& text) {
    return ToGrpc(absl::InternalError(text)).error_message();
  };
  EXPECT_EQ(cut(std::string(2048, 'a')), std::string(2048, 'a'));
  EXPECT_EQ(cut(std::string(2049, 'a')), std::string(2048, 'a'));
  const std::string euro = "\xe2\x82\xac";
  EXPECT_EQ(cut(std::string(2046, 'a') + euro), std::string(2046, 'a'));
  EXPECT_EQ(cut(std::string(2047, 'a') + euro), std::string(2047, 'a'));
  EXPECT_EQ(cut(std::string(2045, 'a') + euro + "b"), std::string(2045, 'a') + euro);
  EXPECT_EQ(cut(std::string(2045, 'a') + "\xf0\x9f\x98\x80"), std::string(2045, 'a'));
  EXPECT_EQ(cut(std::string(3000, '\x80')).size(), 2048u);  // no UTF-8 at all
}

}  // namespace
}  // namespace lossd::wire
