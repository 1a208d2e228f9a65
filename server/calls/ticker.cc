#include "server/calls/ticker.h"

#include <algorithm>
#include <chrono>
#include <new>

namespace lossd {

void Ticker::Arm() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  alarm_.Set(queue_, std::chrono::system_clock::now() + kWatchPeriod, Tag());
}

// Without memory for a tick the next one makes up for it; there must be one.
void Ticker::Run(bool ok) {
  bool calls = true;
  try {
    calls = Tick(std::chrono::steady_clock::now());
  } catch (const std::bad_alloc&) {
  }
  if (calls) Arm();
}

bool Ticker::Tick(Instant now) {
  const bool calls = watch_->Tick(now);
  if (SomethingIsWanted()) watch_->AskBack(now);
  if (budget_ != nullptr) budget_->Tick(now);
  for (MessageGate* const gate : gates_) gate->Tick();
  return calls;
}

bool Ticker::SomethingIsWanted() const {
  const bool bytes = budget_ != nullptr && budget_->Assess();
  return bytes || std::any_of(gates_.begin(), gates_.end(),
                              [](const MessageGate* gate) { return gate->Awaited(); });
}

void Ticker::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

}  // namespace lossd
