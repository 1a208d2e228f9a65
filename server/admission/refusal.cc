#include "server/admission/refusal.h"

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "protos/wire/metadata.h"

namespace lossd {
namespace {

constexpr char kPayload[] = "lossd.server/loss-reason";
constexpr int kNoWish = -1;

struct Row {
  std::string_view token;
  absl::StatusCode code;
  int pushback_ms;  // when to come again; kNoWish: that is the client's affair, or makes no sense
};

// In the order of the enum. A wait for memory is about as long as a large call takes; a drained
// server will not be back, but another may stand behind the same name. At once is 1 ms: gRPC
// clients (1.85) lose a call that is to be repeated after 0 ms, until its deadline.
constexpr Row kRows[kRefusals] = {
    {"TOO_LARGE", absl::StatusCode::kResourceExhausted, kNoWish},
    {"QUEUE_FULL", absl::StatusCode::kUnavailable, 100},
    {"QUEUE_TIMEOUT", absl::StatusCode::kUnavailable, 50},
    {"OVER_BUDGET", absl::StatusCode::kUnavailable, 100},
    {"WOULD_MISS_DEADLINE", absl::StatusCode::kUnavailable, 1},
    {"PEER_QUOTA", absl::StatusCode::kResourceExhausted, 250},
    {"TOO_MANY_CALLS", absl::StatusCode::kUnavailable, 100},
    {"DRAINING", absl::StatusCode::kUnavailable, 1},
    {"OOM", absl::StatusCode::kUnavailable, 250},
    {"STALLED", absl::StatusCode::kDeadlineExceeded, kNoWish},
    {"TIME_LIMIT", absl::StatusCode::kDeadlineExceeded, kNoWish},
    {"UNKNOWN_REGION", absl::StatusCode::kNotFound, kNoWish},
};
static_assert(static_cast<int>(Refusal::kUnknownRegion) == kRefusals - 1);

const Row& RowOf(Refusal why) { return kRows[static_cast<size_t>(why)]; }

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string_view TokenOf(Refusal why) { return RowOf(why).token; }

absl::Status Refuse(Refusal why, std::string_view message) {
  absl::Status status(RowOf(why).code, Absl(message));
  status.SetPayload(kPayload, absl::Cord(Absl(TokenOf(why))));
  return status;
}

std::optional<Refusal> RefusalOf(const absl::Status& status) {
  if (const absl::optional<absl::Cord> token = status.GetPayload(kPayload)) {
    for (int i = 0; i < kRefusals; ++i) {
      if (*token == Absl(kRows[i].token)) return static_cast<Refusal>(i);
    }
  }
  if (absl::IsResourceExhausted(status)) return Refusal::kTooLarge;
  if (absl::IsUnavailable(status)) return Refusal::kOutOfMemory;
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> TrailersOf(const absl::Status& status) {
  const std::optional<Refusal> why = RefusalOf(status);
  if (!why) return {};
  std::vector<std::pair<std::string, std::string>> trailers = {
      {wire::kReasonKey, std::string(TokenOf(*why))}};
  const int pushback_ms = RowOf(*why).pushback_ms;
  if (pushback_ms != kNoWish) {
    trailers.emplace_back(wire::kPushbackKey, std::to_string(pushback_ms));
  }
  return trailers;
}

}  // namespace lossd
