#include "client/attempts.h"

#include <memory>
#include <utility>

namespace lossd {
namespace {

// How long messages may be held after their call was over: far longer than it takes to flush them,
// far shorter than callers like to wait past their deadline. A peer that no longer reads would hold
// them until keepalive finds it dead.
constexpr absl::Duration kGrace = absl::Milliseconds(200);

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
    attempt_([self = shared_from_this()](absl::Status status) { self->Over(std::move(status)); });
  }

 private:
  void Over(absl::Status status) {
    const auto self = shared_from_this();
    if (!loans_.AllReturned()) {
      driver_.At(driver_.transport().Now() + kGrace, [weak = weak_from_this(), over = attempts_] {
        const std::shared_ptr<Loop> loop = weak.lock();
        if (loop && loop->attempts_ == over) loop->driver_.transport().Reclaim();
      });
    }
    driver_.When([self] { return self->loans_.AllReturned(); },
                 [self, status = std::move(status)] { self->Ended(status); });
  }

  void Ended(const absl::Status& status) {
    ++attempts_;
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
  int attempts_ = 0;  // that have ended, their messages let go of
};

}  // namespace

void RunAttempts(Driver& driver, Replay replay, Loans loans, Attempt attempt,
                 std::function<void(absl::Status)> done) {
  std::make_shared<Loop>(driver, std::move(replay), std::move(loans), std::move(attempt),
                         std::move(done))
      ->Run();
}

}  // namespace lossd
