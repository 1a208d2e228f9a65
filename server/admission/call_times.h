#ifndef LOSSD_SERVER_ADMISSION_CALL_TIMES_H_
#define LOSSD_SERVER_ADMISSION_CALL_TIMES_H_

#include <chrono>
#include <cstdint>

#include "server/admission/instant.h"

namespace lossd {

struct TimeLimits {
  Interval header = std::chrono::seconds(5);     // until a stream's header has come
  Interval upload = std::chrono::seconds(5);     // of silence, beside what the bytes take
  Interval download = std::chrono::seconds(10);  // likewise, until the peer has taken an answer
  Interval refusal = std::chrono::seconds(10);   // likewise, of the status of a refused call
  int64_t bytes_per_second = 1 << 20;            // the slowest peer that is waited for
  Interval call = std::chrono::seconds(120);     // of a whole call
};

// When one call has waited too long for its peer. A clockwork without a clock: told what happens
// and when. Costs a few additions a message.
class CallTimes {
 public:
  enum class Overdue : int8_t { kNothing, kUpload, kDownload, kCall };

  CallTimes(const TimeLimits& limits, Instant begun);

  // The server waits for a message of at most so many bytes. Silence is forgiven as the bytes come:
  // a peer that sends bytes_per_second has always `upload` left, one that sends less uses it up.
  void Reading(Instant now, int64_t at_most);
  void Arrived(Instant now, int64_t bytes);

  // The server waits until the peer has taken so many bytes.
  void Writing(Instant now, int64_t bytes);
  // The call is refused, although something is being written: until the peer has taken both.
  void Refused(Instant now) { write_due_ = now + limits_.refusal; }
  void Written() { write_due_ = Instant::max(); }

  // Nothing is overdue before that.
  Instant due() const;
  Overdue Check(Instant now) const;

 private:
  Interval TimeFor(int64_t bytes) const;

  const TimeLimits limits_;
  const Instant call_due_;
  Interval patience_;
  Instant reading_since_;
  Instant read_due_ = Instant::max();
  Instant write_due_ = Instant::max();
  bool header_came_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_CALL_TIMES_H_
