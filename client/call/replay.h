#ifndef LOSSD_CLIENT_CALL_REPLAY_H_
#define LOSSD_CLIENT_CALL_REPLAY_H_

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
  //   - an error that another attempt would only meet again, a policy of one attempt, or a server
  //     that asks not to be called again: `error` itself;
  //   - attempts used up: the error with the number of attempts;
  //   - no time left for the wait: kDeadlineExceeded with the number of attempts and `error`'s
  //     text.
  // Worth another attempt are kUnavailable; kCancelled, because gRPC resets calls that reach a
  // server in the moment it shuts down (a call that its caller stopped is not asked about);
  // kResourceExhausted over a quota of this peer's; and, once, kResourceExhausted that lossd did
  // not give (gRPC short of memory, at either end). An attempt that lossd put off, with a reason
  // and a time, is not held against max_attempts: the server is there, and the deadline alone says
  // how long to ask again. Nor is one that waited for a server while another was there: it goes
  // there at once.
  absl::StatusOr<absl::Duration> AfterFailure(absl::Status error, absl::Time now);

  absl::Time deadline() const { return deadline_; }

 private:
  struct Hints;
  bool WorthAnother(const absl::Status& error, const Hints& hints);

  RetryPolicy policy_;
  absl::Time deadline_;
  std::function<double()> uniform_;
  int attempts_ = 0;
  int put_off_ = 0;         // of them, by the server
  bool exhausted_ = false;  // has met kResourceExhausted that lossd did not give
  absl::Duration backoff_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_REPLAY_H_
