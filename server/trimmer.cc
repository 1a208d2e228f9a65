#include "server/trimmer.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "server/calls/accept.h"
#include "server/memory/heap.h"

namespace lossd {
namespace {

constexpr std::chrono::seconds kPeriod{2};
// Of output memory: outlasts the pauses between the steps of a training run.
constexpr int kPoolTurns = 2;

}  // namespace

Trimmer::Trimmer(const Environment* environment, ControlService* control)
    : environment_(environment), control_(control), policy_(ResidentBytes()) {
  Arm();
}

void Trimmer::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  alarm_.Cancel();
}

void Trimmer::Run(bool ok) {
  if (!ok) return;  // cancelled: the server stops
  try {
    if (++turns_ % kPoolTurns == 0) environment_->pool->Trim();
    ReleaseUnused();
  } catch (const std::bad_alloc&) {  // the next turn makes up for it; there must be one
  }
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  AcceptPutOff(*environment_);
  control_->AcceptPutOff();
  Arm();
}

void Trimmer::ReleaseUnused() {
  AdmissionCounters& counters = *environment_->counters;
  const int64_t granted = counters.granted_peak.exchange(counters.granted_bytes);
  const int64_t held =
      HeapBytesInUse() + environment_->pool->loaned_bytes() + environment_->pool->idle_bytes();
  const ReleasePolicy::Period period = {
      .begun = environment_->calls->begun(),
      .live = environment_->calls->live(),
      .resident = ResidentBytes(),
      .used = std::max(granted + environment_->pool->idle_bytes(), held)};
  if (policy_.Due(period)) ReleaseFreedMemory();
}

void Trimmer::Arm() {
  alarm_.Set(environment_->queue, std::chrono::system_clock::now() + kPeriod, Tag());
}

}  // namespace lossd
