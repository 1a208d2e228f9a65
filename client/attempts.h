#ifndef LOSSD_CLIENT_ATTEMPTS_H_
#define LOSSD_CLIENT_ATTEMPTS_H_

#include <functional>

#include "absl/status/status.h"
#include "client/driver.h"
#include "client/loans.h"
#include "client/replay.h"

namespace lossd {

// Makes one attempt: starts it and, once, reports how it ended.
using Attempt = std::function<void(std::function<void(absl::Status)> report)>;

// Attempts until one succeeds or `replay` sees no point in another. Between attempts, and before
// `done`, all of `loans` have come back. `done` runs once, inside the driver's RunOnce or at once.
void RunAttempts(Driver& driver, Replay replay, Loans loans, Attempt attempt,
                 std::function<void(absl::Status)> done);

}  // namespace lossd

#endif  // LOSSD_CLIENT_ATTEMPTS_H_
