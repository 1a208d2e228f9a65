#ifndef LOSSD_SERVER_ADMISSION_CALL_TIMES_H_
#define LOSSD_SERVER_ADMISSION_CALL_TIMES_H_

#include <chrono>
#include <cstdint>
#include <optional>

#include "server/admission/instant.h"

namespace lossd {

struct TimeLimits {
  Interval header = std::chrono::seconds(5);     // until a stream's header has come
  Interval upload = std::chrono::seconds(5);     // of silence, beside what the bytes take
  Interval download = std::chrono::seconds(10);  // until the peer has taken an answer, beside that
  Interval refusal = std::chrono::seconds(10);   // until it has taken the status of a refused call
  int64_t bytes_per_second = 1 << 20;            // the slowest peer that is waited for
  // The same for a message whose bytes cannot be counted as they come: such peers are local.
  int64_t uncounted_bytes_per_second = 16 << 20;
  // In all, of time that a peer is not charged with because what it sent was not read yet.
  Interval excused = std::chrono::seconds(30);
  // Until a message of unknown size may be read: longer than one that does not come keeps others.
  Interval place = std::chrono::seconds(10);
  Interval call = std::chrono::seconds(120);  // of a whole call
};

// Decides when one call has waited too long for its peer. It has no clock: it is told what happens
// and when. Costs a few additions a message.
//
// A peer has a patience of `upload`. Time in which a message is waited for uses it up, and bytes
// that come restore it, at bytes_per_second and never beyond `upload`. So a peer that sends
// bytes_per_second always has all of it, and one that sends nothing is overdue after `upload`.
// Where the connection's bytes are counted, they restore it as they come, up to the size that the
// message can have; what the message then turns out to have counts in their place.
class CallTimes {
 public:
  enum class Overdue : int8_t { kNothing, kUpload, kDownload, kCall };

  // How often bytes are looked at while a message is waited for.
  static constexpr Interval kLookEvery = std::chrono::milliseconds(250);

  // A call that is so far behind may lose what others wait for: longer than a busy machine takes to
  // pass bytes on, and half of what a call may wait for memory.
  static constexpr Interval kMayLoseAfter = std::chrono::milliseconds(50);

  CallTimes(const TimeLimits& limits, Instant begun);

  // The server waits for a message of at most `at_most` bytes; `received` (see Arrivals) is what
  // the connection has brought so far.
  void Reading(Instant now, int64_t at_most, std::optional<int64_t> received);
  // Bytes of the connection lie in this machine and were not read yet: the time since the last look
  // is the server's own, up to TimeLimits::excused. To be followed by Look.
  void Excuse(Instant now);
  // It still waits; the connection has brought `received` bytes by now.
  void Look(Instant now, std::optional<int64_t> received);
  // The message is here.
  void Arrived(Instant now, int64_t bytes);

  // By how much of its patience the peer is behind with the message that is waited for, as of the
  // last look. Zero: nothing is waited for, or enough comes.
  Interval Behind(Instant now) const;

  // The server waits until the peer has taken `bytes`.
  void Writing(Instant now, int64_t bytes);
  // The call is refused, although something is being written: until the peer has taken both.
  void Refused(Instant now) { write_due_ = now + limits_.refusal; }
  void Written() { write_due_ = Instant::max(); }

  // Nothing is overdue before that, and there is nothing to look at.
  Instant due() const;
  Overdue Check(Instant now) const;

 private:
  Interval TimeFor(int64_t bytes, int64_t bytes_per_second) const;
  Interval Full() const { return header_came_ ? limits_.upload : limits_.header; }

  const TimeLimits limits_;
  const Instant call_due_;
  bool header_came_ = false;
  Interval patience_;      // when the message that is waited for was asked for
  Interval now_patience_;  // as of the last look
  Interval excuse_left_;
  Instant reading_since_;
  Instant looked_at_;
  std::optional<int64_t> received_;  // at the last look
  int64_t to_come_ = 0;              // what may still restore patience
  Instant look_due_ = Instant::max();
  Instant read_due_ = Instant::max();
  Instant write_due_ = Instant::max();
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_CALL_TIMES_H_
