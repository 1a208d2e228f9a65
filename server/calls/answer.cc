#include "server/calls/answer.h"

#include <chrono>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protos/wire/grpc_status.h"
#include "server/admission/refusal.h"

namespace lossd {

namespace {

constexpr char kOurMistake[] = "internal error of the server; details are in its log";

// What a caller is told beside the code, and what is written down, is not worth a call.
template <class Work>
void IfMemoryAllows(Work work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

absl::Status OutOfMemory() { return Refuse(Refusal::kOutOfMemory, "the server is out of memory"); }

absl::Status Thrown(const std::exception& thrown) {
  return absl::InternalError(absl::StrCat("unexpected exception: ", thrown.what()));
}

absl::Status TookTooLong(const TimeLimits& limits) {
  return Refuse(Refusal::kTimeLimit,
                absl::StrFormat("the call took longer than %g s, the most this server lets a call "
                                "take (--max-call-duration)",
                                std::chrono::duration<double>(limits.call).count()));
}

absl::Status TooLargeForOneMessage(int64_t bytes, const wire::Limits& limits) {
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the request is %d bytes; this server takes at most %d in one message (--max-unary-bytes); "
      "larger ones go through ComputeStream",
      bytes, limits.max_unary_bytes));
}

absl::Status TooLargeForOneMessage(const wire::Limits& limits) {
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the request is larger than %d bytes, the most this server takes in one message "
      "(--max-unary-bytes); larger ones go through ComputeStream",
      limits.max_unary_bytes));
}

Instant DeadlineOf(const grpc::ServerContext& context, Instant now) {
  constexpr std::chrono::hours kFar(24);
  const auto left = context.deadline() - std::chrono::system_clock::now();
  return left > kFar ? Instant::max() : now + std::chrono::duration_cast<Interval>(left);
}

grpc::Status Conclude(CallRecord& record, const absl::Status& status, AdmissionCounters& counters,
                      grpc::ServerContext& context) {
  std::string_view reason;
  if (const std::optional<Refusal> why = RefusalOf(status)) {
    ++counters.refused_for(*why);
    reason = TokenOf(*why);
    IfMemoryAllows([&] {
      for (const auto& [key, value] : TrailersOf(status)) context.AddTrailingMetadata(key, value);
    });
  }
  IfMemoryAllows([&] { record.Ended(status, reason); });
  const bool ours = absl::IsInternal(status) || absl::IsUnknown(status);
  grpc::Status concluded = wire::ToGrpc(absl::Status(status.code(), ""));
  IfMemoryAllows(
      [&] { concluded = wire::ToGrpc(ours ? absl::Status(status.code(), kOurMistake) : status); });
  return concluded;
}

}  // namespace lossd
