#include "client/call/replay.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/transport/transport.h"

namespace lossd {
namespace {

std::string Attempts(int count) {
  return absl::StrCat(count, count == 1 ? " attempt" : " attempts");
}

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

std::optional<std::string> TakePayload(std::string_view key, absl::Status& error) {
  const absl::string_view type = Absl(key);
  const absl::optional<absl::Cord> text = error.GetPayload(type);
  if (!text.has_value()) return std::nullopt;
  error.ErasePayload(type);
  return std::string(*text);
}

absl::Status WithReason(const std::string& reason, absl::Status error) {
  if (!reason.empty()) error.SetPayload(Absl(kReasonPayload), absl::Cord(reason));
  return error;
}

}  // namespace

// What a server says beside its error.
struct Replay::Hints {
  // The wish is taken out of the status: it is not for callers.
  explicit Hints(absl::Status& error) : reason(LossReason(error)) {
    unsent = TakePayload(kUnsentPayload, error).has_value();
    const std::optional<std::string> text = TakePayload(kPushbackPayload, error);
    if (!text.has_value()) return;
    int64_t milliseconds = -1;
    if (!absl::SimpleAtoi(*text, &milliseconds)) milliseconds = -1;
    pushback = absl::Milliseconds(milliseconds);
  }

  bool never() const { return pushback.has_value() && *pushback < absl::ZeroDuration(); }
  bool put_off() const { return !reason.empty() && pushback.has_value(); }

  std::string reason;                      // empty: lossd did not turn it away
  std::optional<absl::Duration> pushback;  // the server's wish; negative: never
  bool unsent = false;                     // no server has seen the call
};

Replay::Replay(const RetryPolicy& policy, absl::Time deadline, std::function<double()> uniform)
    : policy_(policy),
      deadline_(deadline),
      uniform_(std::move(uniform)),
      backoff_(std::min(policy.initial_backoff, policy.max_backoff)) {}

absl::StatusOr<absl::Duration> Replay::AfterFailure(absl::Status error, absl::Time now) {
  const Hints hints(error);
  if (hints.unsent && now < deadline_) return absl::ZeroDuration();
  ++attempts_;
  if (!WorthAnother(error, hints) || policy_.max_attempts == 1) return error;
  if (hints.put_off()) ++put_off_;
  if (attempts_ - put_off_ >= policy_.max_attempts) {
    return WithReason(hints.reason,
                      absl::Status(error.code(), absl::StrCat(error.message(), " (given up after ",
                                                              Attempts(attempts_), ")")));
  }
  const absl::Duration wait =
      std::max(backoff_ * (0.5 + 0.5 * uniform_()), hints.pushback.value_or(absl::ZeroDuration()));
  if (now + wait >= deadline_) {
    return WithReason(hints.reason,
                      absl::DeadlineExceededError(absl::StrCat(
                          "the deadline leaves no time to try again after ", Attempts(attempts_),
                          "; the last failed: ", error.message())));
  }
  backoff_ = std::min(backoff_ * policy_.multiplier, policy_.max_backoff);
  return wait;
}

bool Replay::WorthAnother(const absl::Status& error, const Hints& hints) {
  if (hints.never()) return false;
  if (absl::IsUnavailable(error) || absl::IsCancelled(error)) return true;
  if (!absl::IsResourceExhausted(error)) return false;
  if (!hints.reason.empty()) return hints.reason == "PEER_QUOTA";
  return !std::exchange(exhausted_, true);
}

}  // namespace lossd
