#include "client/attempts.h"

#include <memory>
#include <utility>

namespace lossd {
namespace {

// How often the transport is reminded of what it still holds: far less often than it takes to flush
// it, far more often than callers like to wait past their deadline.
constexpr absl::Duration kReminder = absl::Milliseconds(100);

// Kept alive by the reports, timers and conditions that refer to it.
class Loop : public std::enable_shared_from_this<Loop> {
 public:
  Loop(Driver& driver, Replay replay, Loans loans, Attempt attempt,
       std::function<void(absl::Status)> done)
      : driver_(driver),
        replay_(std::move(replay)),
        loans_(std::move(loans)),
        attempt_(std::move(attempt)),
        done_(std::move(done)) {}

  void Run() {
    RemindAt(replay_.deadline());
    attempt_([self = shared_from_this()](absl::Status status) { self->Over(std::move(status)); });
  }

 private:
  // A message that is stuck may hold up the report itself.
  void RemindAt(absl::Time time) {
    reminder_ = driver_.At(time, [this] {
      Transport& transport = driver_.transport();
      transport.Reclaim();
      RemindAt(transport.Now() + kReminder);
    });
  }

  void Over(absl::Status status) {
    driver_.Cancel(reminder_);
    if (loans_.AllReturned()) return Ended(status);
    RemindAt(driver_.transport().Now());
    driver_.When([this] { return loans_.AllReturned(); },
                 [self = shared_from_this(), status = std::move(status)] {
                   self->driver_.Cancel(self->reminder_);
                   self->Ended(status);
                 });
  }

  void Ended(const absl::Status& status) {
    if (status.ok()) return done_(status);
    const absl::Time now = driver_.transport().Now();
    const absl::StatusOr<absl::Duration> wait = replay_.AfterFailure(status, now);
    if (!wait.ok()) return done_(wait.status());
    driver_.At(now + *wait, [self = shared_from_this()] { self->Run(); });
  }

  Driver& driver_;
  Replay replay_;
  const Loans loans_;
  const Attempt attempt_;
  const std::function<void(absl::Status)> done_;
  Driver::Timer reminder_;  // from the beginning of an attempt until its messages are let go of
};

}  // namespace

void RunAttempts(Driver& driver, Replay replay, Loans loans, Attempt attempt,
                 std::function<void(absl::Status)> done) {
  std::make_shared<Loop>(driver, std::move(replay), std::move(loans), std::move(attempt),
                         std::move(done))
      ->Run();
}

}  // namespace lossd
