#include "server/admission/watch.h"

#include <utility>

namespace lossd {

bool Watch::Add(Watched* watched) {
  const std::lock_guard lock(mutex_);
  all_.PushFront(watched);
  return !std::exchange(ticking_, true);
}

void Watch::Remove(Watched* watched) {
  const std::lock_guard lock(mutex_);
  all_.Remove(watched);
}

bool Watch::Tick(Instant now) {
  const std::lock_guard lock(mutex_);
  const Instant::rep ticks = now.time_since_epoch().count();
  for (Watched& watched : all_) {
    if (watched.due_.load(std::memory_order_relaxed) <= ticks) watched.OnDue(now);
  }
  ticking_ = !all_.empty();
  return ticking_;
}

void Watch::AskBack(Instant now) {
  const std::lock_guard lock(mutex_);
  for (Watched& watched : all_) watched.OnWanted(now);
}

}  // namespace lossd
