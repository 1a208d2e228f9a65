#include "server/admission/call_times.h"

#include <algorithm>

namespace lossd {

CallTimes::CallTimes(const TimeLimits& limits, Instant begun)
    : limits_(limits), call_due_(begun + limits.call), patience_(limits.header) {}

Interval CallTimes::TimeFor(int64_t bytes) const {
  return std::chrono::duration_cast<Interval>(std::chrono::duration<double>(
      static_cast<double>(bytes) / static_cast<double>(limits_.bytes_per_second)));
}

void CallTimes::Reading(Instant now, int64_t at_most) {
  reading_since_ = now;
  read_due_ = now + patience_ + (header_came_ ? TimeFor(at_most) : Interval::zero());
}

void CallTimes::Arrived(Instant now, int64_t bytes) {
  read_due_ = Instant::max();
  if (!header_came_) {
    header_came_ = true;
    patience_ = limits_.upload;
    return;
  }
  patience_ = std::min(limits_.upload, patience_ - (now - reading_since_) + TimeFor(bytes));
}

void CallTimes::Writing(Instant now, int64_t bytes) {
  write_due_ = now + limits_.download + TimeFor(bytes);
}

Instant CallTimes::due() const { return std::min({call_due_, read_due_, write_due_}); }

CallTimes::Overdue CallTimes::Check(Instant now) const {
  if (now >= write_due_) return Overdue::kDownload;
  if (now >= call_due_) return Overdue::kCall;
  if (now >= read_due_) return Overdue::kUpload;
  return Overdue::kNothing;
}

}  // namespace lossd
