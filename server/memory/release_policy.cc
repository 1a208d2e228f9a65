#include "server/memory/release_policy.h"

#include <algorithm>

namespace lossd {

bool ReleasePolicy::Due(const Period& period) {
  const int64_t unused = std::max<int64_t>(period.resident - period.used, 0);
  const bool idle = period.live == 0 && period.begun == begun_before_;
  idle_periods_ = idle ? idle_periods_ + 1 : 0;
  begun_before_ = period.begun;
  if (idle_periods_ >= kIdlePeriods && period.begun != begun_released_) {
    begun_released_ = period.begun;
    return true;
  }
  if (unused <= base_ + kSlack) {
    wait_ = 0;
    next_wait_ = 1;
    return false;
  }
  if (wait_-- > 0) return false;
  wait_ = next_wait_ - 1;
  next_wait_ *= 2;
  return true;
}

}  // namespace lossd
