#ifndef LOSSD_SERVER_ADMISSION_OFFENDERS_H_
#define LOSSD_SERVER_ADMISSION_OFFENDERS_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "server/admission/instant.h"

namespace lossd {

// Counts, connection by connection, calls over a quota of their peer's. Turning one away costs less
// than a call, but not nothing, and gRPC makes an object for it before we are asked; a connection
// that goes on and on is to be broken. Thread-safe.
class Offenders {
 public:
  // That may come over one connection within a period: more than a client that was turned away has
  // reason to send, less than weighs anything.
  static constexpr int64_t kMostRefused = 1000;
  static constexpr Interval kPeriod = std::chrono::seconds(1);

  // Notes one more; true once in a period, when it is one too many.
  bool TurnedAway(std::string_view connection, Instant now);

 private:
  std::mutex mutex_;
  Instant begun_;                                       // of the period
  std::map<std::string, int64_t, std::less<>> counts_;  // of the period
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_OFFENDERS_H_
