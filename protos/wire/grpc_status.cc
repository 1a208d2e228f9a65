#include "protos/wire/grpc_status.h"

#include <string>

#include "absl/strings/string_view.h"

namespace lossd::wire {
namespace {

// The table: equal numbers, so that a cast is the conversion.
constexpr bool Same(absl::StatusCode ours, grpc::StatusCode theirs) {
  return static_cast<int>(ours) == static_cast<int>(theirs);
}
static_assert(Same(absl::StatusCode::kOk, grpc::StatusCode::OK));
static_assert(Same(absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED));
static_assert(Same(absl::StatusCode::kUnknown, grpc::StatusCode::UNKNOWN));
static_assert(Same(absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT));
static_assert(Same(absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED));
static_assert(Same(absl::StatusCode::kNotFound, grpc::StatusCode::NOT_FOUND));
static_assert(Same(absl::StatusCode::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS));
static_assert(Same(absl::StatusCode::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED));
static_assert(Same(absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED));
static_assert(Same(absl::StatusCode::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION));
static_assert(Same(absl::StatusCode::kAborted, grpc::StatusCode::ABORTED));
static_assert(Same(absl::StatusCode::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE));
static_assert(Same(absl::StatusCode::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED));
static_assert(Same(absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL));
static_assert(Same(absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE));
static_assert(Same(absl::StatusCode::kDataLoss, grpc::StatusCode::DATA_LOSS));
static_assert(Same(absl::StatusCode::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED));

constexpr size_t kMaxMessageBytes = 2048;

// The longest prefix within the limit that does not end inside a UTF-8 character.
absl::string_view Cut(absl::string_view message) {
  if (message.size() <= kMaxMessageBytes) return message;
  size_t size = kMaxMessageBytes;
  const auto continues = [&](size_t i) { return (message[i] & 0xc0) == 0x80; };
  while (size > kMaxMessageBytes - 4 && continues(size)) --size;
  // Four continuation bytes in a row are no UTF-8 at all: any place is as good.
  return message.substr(0, continues(size) ? kMaxMessageBytes : size);
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(Cut(status.message())));
}

absl::Status FromGrpc(const grpc::Status& status) {
  // A code outside the table becomes kUnknown, as absl::Status itself would report it.
  const int code = status.error_code();
  const bool known = code >= 0 && code <= grpc::StatusCode::UNAUTHENTICATED;
  return absl::Status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                      status.error_message());
}

}  // namespace lossd::wire
