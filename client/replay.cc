#include "client/replay.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/transport.h"

namespace lossd {
namespace {

std::string Attempts(int count) {
  return absl::StrCat(count, count == 1 ? " attempt" : " attempts");
}

// The server's wish; a negative wait means never. Taken out of the status: it is not for callers.
std::optional<absl::Duration> TakePushback(absl::Status& error) {
  const absl::string_view key(kPushbackPayload.data(), kPushbackPayload.size());
  const absl::optional<absl::Cord> text = error.GetPayload(key);
  if (!text.has_value()) return std::nullopt;
  error.ErasePayload(key);
  int64_t milliseconds = -1;
  if (!absl::SimpleAtoi(std::string(*text), &milliseconds)) milliseconds = -1;
  return absl::Milliseconds(milliseconds);
}

}  // namespace

Replay::Replay(const RetryPolicy& policy, absl::Time deadline, std::function<double()> uniform)
    : policy_(policy),
      deadline_(deadline),
      uniform_(std::move(uniform)),
      backoff_(std::min(policy.initial_backoff, policy.max_backoff)) {}

absl::StatusOr<absl::Duration> Replay::AfterFailure(absl::Status error, absl::Time now) {
  ++attempts_;
  const std::optional<absl::Duration> pushback = TakePushback(error);
  if (error.code() != absl::StatusCode::kUnavailable) return error;
  if (pushback.has_value() && *pushback < absl::ZeroDuration()) return error;
  if (policy_.max_attempts == 1) return error;
  if (attempts_ >= policy_.max_attempts) {
    return absl::UnavailableError(
        absl::StrCat(error.message(), " (given up after ", Attempts(attempts_), ")"));
  }
  const absl::Duration wait =
      std::max(backoff_ * (0.5 + 0.5 * uniform_()), pushback.value_or(absl::ZeroDuration()));
  if (now + wait >= deadline_) {
    return absl::DeadlineExceededError(
        absl::StrCat("the deadline leaves no time to try again after ", Attempts(attempts_),
                     "; the last failed: ", error.message()));
  }
  backoff_ = std::min(backoff_ * policy_.multiplier, policy_.max_backoff);
  return wait;
}

}  // namespace lossd
