#include "client/call/attempts.h"

#include <utility>

namespace lossd {
namespace {

// How often the transport is reminded of what it still holds: far less often than it takes to flush
// it, far more often than callers like to wait past their deadline.
constexpr absl::Duration kReminder = absl::Milliseconds(100);

}  // namespace

void Attempts::Run(const Loans& loans, Attempt attempt, Report done) {
  loans_ = &loans;
  attempt_ = std::move(attempt);
  done_ = std::move(done);
  Begin();
}

void Attempts::Begin() {
  RemindAt(replay_.deadline());
  attempt_([this](absl::Status status) { Over(std::move(status)); });
}

// A message that is stuck may hold up the report itself.
void Attempts::RemindAt(absl::Time time) {
  reminder_ = driver_.At(time, [this] {
    Transport& transport = driver_.transport();
    transport.Reclaim();
    RemindAt(transport.Now() + kReminder);
  });
}

void Attempts::Over(absl::Status status) {
  driver_.Cancel(reminder_);
  if (loans_->AllReturned()) return Ended(status);
  RemindAt(driver_.transport().Now());
  driver_.When([this] { return loans_->AllReturned(); },
               [this, status = std::move(status)] {
                 driver_.Cancel(reminder_);
                 Ended(status);
               });
}

bool Attempts::Stop() {
  stopped_ = true;
  if (!pause_) return false;
  driver_.Cancel(*pause_);
  Done(StoppedError());
  return true;
}

void Attempts::Ended(const absl::Status& status) {
  if (status.ok()) return Done(status);
  if (stopped_) return Done(StoppedError());
  const absl::Time now = driver_.transport().Now();
  const absl::StatusOr<absl::Duration> wait = replay_.AfterFailure(status, now);
  if (!wait.ok()) return Done(wait.status());
  pause_ = driver_.At(now + *wait, [this] {
    pause_.reset();
    Begin();
  });
}

// `this` may be gone before its last closure returns.
void Attempts::Done(const absl::Status& status) {
  const Report done = std::move(done_);
  done(status);
}

}  // namespace lossd
