#ifndef LOSSD_CLIENT_REPLAY_H_
#define LOSSD_CLIENT_REPLAY_H_

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lossd/client.h"

namespace lossd {

// Decides, attempt by attempt, whether a call is worth another one.
class Replay {
 public:
  // `uniform` draws from [0, 1).
  Replay(const RetryPolicy& policy, absl::Time deadline, std::function<double()> uniform);

  // After an attempt failed: how long to wait before the next one, or the error the caller gets:
  //   - any code but kUnavailable, a policy of one attempt, or a server that asks not to be called
  //     again: `error` itself;
  //   - attempts used up: kUnavailable with the number of attempts;
  //   - no time left for the wait: kDeadlineExceeded with the number of attempts and `error`'s
  //   text.
  absl::StatusOr<absl::Duration> AfterFailure(absl::Status error, absl::Time now);

  absl::Time deadline() const { return deadline_; }

 private:
  RetryPolicy policy_;
  absl::Time deadline_;
  std::function<double()> uniform_;
  int attempts_ = 0;
  absl::Duration backoff_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_REPLAY_H_
