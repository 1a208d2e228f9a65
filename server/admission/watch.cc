#include "server/admission/watch.h"

#include <utility>

namespace lossd {

bool Watch::Add(Watched* watched) {
  const std::lock_guard lock(mutex_);
  watched->previous_ = nullptr;
  watched->next_ = first_;
  if (first_ != nullptr) first_->previous_ = watched;
  first_ = watched;
  return !std::exchange(ticking_, true);
}

void Watch::Remove(Watched* watched) {
  const std::lock_guard lock(mutex_);
  if (watched->next_ != nullptr) watched->next_->previous_ = watched->previous_;
  (watched->previous_ != nullptr ? watched->previous_->next_ : first_) = watched->next_;
}

bool Watch::Tick(Instant now) {
  const std::lock_guard lock(mutex_);
  const Instant::rep ticks = now.time_since_epoch().count();
  for (Watched* watched = first_; watched != nullptr; watched = watched->next_) {
    if (watched->due_.load(std::memory_order_relaxed) <= ticks) watched->OnDue(now);
  }
  ticking_ = first_ != nullptr;
  return ticking_;
}

void Watch::AskBack(Instant now) {
  const std::lock_guard lock(mutex_);
  for (Watched* watched = first_; watched != nullptr; watched = watched->next_) {
    watched->OnWanted(now);
  }
}

}  // namespace lossd
