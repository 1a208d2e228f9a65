#include "server/admission/call_times.h"

#include <algorithm>

namespace lossd {
namespace {

// Longer than any limit, and short enough to be added to any instant.
constexpr Interval kLongest = std::chrono::hours(24 * 365);

// A clock that goes backwards counts as one that stands still.
Interval Between(Instant from, Instant to) { return std::max(to - from, Interval::zero()); }

Interval Within(Interval patience, Interval full) { return std::clamp(patience, -kLongest, full); }

}  // namespace

CallTimes::CallTimes(const TimeLimits& limits, Instant begun)
    : limits_(limits),
      call_due_(begun + limits.call),
      patience_(limits.header),
      now_patience_(limits.header),
      excuse_left_(limits.excused) {}

Interval CallTimes::TimeFor(int64_t bytes, int64_t bytes_per_second) const {
  const double seconds = static_cast<double>(bytes) / static_cast<double>(bytes_per_second);
  return std::chrono::duration_cast<Interval>(
      std::min(std::chrono::duration<double>(seconds), std::chrono::duration<double>(kLongest)));
}

void CallTimes::Reading(Instant now, int64_t at_most, std::optional<int64_t> received) {
  reading_since_ = now;
  looked_at_ = now;
  now_patience_ = patience_;
  received_ = received;
  to_come_ = header_came_ ? at_most : 0;
  if (!received) now_patience_ += TimeFor(to_come_, limits_.uncounted_bytes_per_second);
  read_due_ = now + now_patience_;
  look_due_ = received ? now + kLookEvery : Instant::max();
}

void CallTimes::Excuse(Instant now) {
  if (read_due_ == Instant::max()) return;
  const Interval excused = std::min(Between(looked_at_, now), excuse_left_);
  excuse_left_ -= excused;
  reading_since_ += excused;
  looked_at_ += excused;
  read_due_ += excused;
}

void CallTimes::Look(Instant now, std::optional<int64_t> received) {
  if (read_due_ == Instant::max() || !received_) return;
  const int64_t came = std::clamp<int64_t>(received.value_or(*received_) - *received_, 0, to_come_);
  const Interval restored = TimeFor(came, limits_.bytes_per_second);
  now_patience_ = Within(now_patience_ - Between(looked_at_, now) + restored, Full());
  to_come_ -= came;
  received_ = received.value_or(*received_);
  looked_at_ = std::max(looked_at_, now);
  read_due_ = looked_at_ + now_patience_;
  look_due_ = looked_at_ + kLookEvery;
}

void CallTimes::Arrived(Instant now, int64_t bytes) {
  read_due_ = Instant::max();
  look_due_ = Instant::max();
  if (!header_came_) {
    header_came_ = true;
    patience_ = limits_.upload;
    return;
  }
  patience_ =
      Within(patience_ - Between(reading_since_, now) + TimeFor(bytes, limits_.bytes_per_second),
             limits_.upload);
}

Interval CallTimes::Behind(Instant now) const {
  if (read_due_ == Instant::max()) return Interval::zero();
  return std::max(Full() - now_patience_ + Between(looked_at_, now), Interval::zero());
}

void CallTimes::Writing(Instant now, int64_t bytes) {
  write_due_ = now + limits_.download + TimeFor(bytes, limits_.bytes_per_second);
}

Instant CallTimes::due() const { return std::min({call_due_, read_due_, write_due_, look_due_}); }

CallTimes::Overdue CallTimes::Check(Instant now) const {
  if (now >= write_due_) return Overdue::kDownload;
  if (now >= call_due_) return Overdue::kCall;
  if (now >= read_due_) return Overdue::kUpload;
  return Overdue::kNothing;
}

}  // namespace lossd
