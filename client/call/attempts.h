#ifndef LOSSD_CLIENT_CALL_ATTEMPTS_H_
#define LOSSD_CLIENT_CALL_ATTEMPTS_H_

#include <functional>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/call/driver.h"
#include "client/call/loans.h"
#include "client/call/replay.h"

namespace lossd {

// Of calls that CallOptions::stop ends.
inline absl::Status StoppedError() { return absl::CancelledError("the caller gave the call up"); }

// Makes attempts until one succeeds or another has no point. Between attempts, and before the end,
// all loans have come back. The object belongs to its call and closures hold its address alone:
// closures of one pointer are not allocated, and allocations are what a call of one small message
// costs.
class Attempts {
 public:
  using Report = std::function<void(absl::Status)>;

  // Makes one attempt: starts it and, once, reports how it ended.
  using Attempt = std::function<void(Report report)>;

  Attempts(Driver& driver, Replay replay) : driver_(driver), replay_(std::move(replay)) {}
  Attempts(const Attempts&) = delete;
  Attempts& operator=(const Attempts&) = delete;

  Driver& driver() const { return driver_; }
  absl::Time deadline() const { return replay_.deadline(); }

  // Once. `loans` and this live until `done` runs, which it does once, inside the driver's RunOnce
  // or at once, and which may destroy them.
  void Run(const Loans& loans, Attempt attempt, Report done);

  // Makes no other attempt: what fails from here on ends with StoppedError. True: between two
  // attempts, it ended at once, and this may be gone. Precondition: Run was called, `done` was not.
  bool Stop();

 private:
  void Begin();
  void RemindAt(absl::Time time);
  void Over(absl::Status status);
  void Ended(const absl::Status& status);
  void Done(const absl::Status& status);

  Driver& driver_;
  Replay replay_;
  const Loans* loans_ = nullptr;
  Attempt attempt_;
  Report done_;
  Driver::Timer reminder_;  // from the beginning of an attempt until its messages are released
  std::optional<Driver::Timer> pause_;  // between attempts
  bool stopped_ = false;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_ATTEMPTS_H_
