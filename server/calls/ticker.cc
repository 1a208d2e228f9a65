#include "server/calls/ticker.h"

#include <chrono>

namespace lossd {

void Ticker::Arm() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  alarm_.Set(queue_, std::chrono::system_clock::now() + kWatchPeriod, Tag());
}

void Ticker::Run(bool ok) {
  const Instant now = std::chrono::steady_clock::now();
  if (budget_ != nullptr) budget_->Tick(now);
  if (watch_->Tick(now)) Arm();
}

void Ticker::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

}  // namespace lossd
