#include "server/admission/offenders.h"

namespace lossd {

bool Offenders::TurnedAway(std::string_view connection, Instant now) {
  const std::lock_guard lock(mutex_);
  if (now - begun_ >= kPeriod) {
    begun_ = now;
    counts_.clear();
  }
  auto count = counts_.find(connection);
  if (count == counts_.end()) count = counts_.emplace(connection, 0).first;
  return ++count->second == kMostRefused + 1;
}

}  // namespace lossd
