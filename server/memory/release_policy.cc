#include "server/memory/release_policy.h"

#include <algorithm>

namespace lossd {

bool ReleasePolicy::Due(const Period& period) {
  const int64_t unused = std::max<int64_t>(period.resident - period.used, 0);
  if (floor_ < 0) floor_ = unused;
  const bool idle = period.live == 0 && period.begun == begun_before_;
  begun_before_ = period.begun;
  return (idle && period.begun != begun_released_) || unused > floor_ + kSlack;
}

void ReleasePolicy::Released(const Period& period, int64_t resident) {
  begun_released_ = period.begun;
  floor_ = std::max<int64_t>(resident - period.used, 0);
}

}  // namespace lossd
