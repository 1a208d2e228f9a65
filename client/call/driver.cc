#include "client/call/driver.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace lossd {
namespace {

// How often unfulfilled conditions are looked at. They are almost always fulfilled at once; what
// remains is memory lent to a connection that does not drain.
constexpr absl::Duration kPollInterval = absl::Milliseconds(1);

}  // namespace

Driver::Timer Driver::At(absl::Time time, std::function<void()> task) {
  if (spare_.empty()) return timers_.emplace(time, std::move(task));
  Timers::node_type timer = std::move(spare_.back());
  spare_.pop_back();
  timer.key() = time;
  timer.mapped() = std::move(task);
  return timers_.insert(std::move(timer));
}

void Driver::When(std::function<bool()> condition, std::function<void()> task) {
  if (condition()) return task();
  waits_.push_back({std::move(condition), std::move(task)});
}

bool Driver::RunDue() {
  if (timers_.empty() || timers_.begin()->first > transport_.Now()) return false;
  const auto due = timers_.extract(timers_.begin());
  due.mapped()();
  return true;
}

bool Driver::RunFulfilled() {
  const auto wait =
      std::find_if(waits_.begin(), waits_.end(), [](const Wait& w) { return w.condition(); });
  if (wait == waits_.end()) return false;
  const std::function<void()> task = std::move(wait->task);
  waits_.erase(wait);
  task();
  return true;
}

void Driver::RunOnce() {
  if (RunDue() || RunFulfilled()) return;
  absl::Time until = timers_.empty() ? absl::InfiniteFuture() : timers_.begin()->first;
  if (!waits_.empty()) until = std::min(until, transport_.Now() + kPollInterval);
  queue_->RunOne(until);
}

}  // namespace lossd
