#ifndef LOSSD_SERVER_ADMISSION_COUNTERS_H_
#define LOSSD_SERVER_ADMISSION_COUNTERS_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "server/admission/refusal.h"

namespace lossd {

// What admission is doing, to be read at any time from any thread. Gauges return to 0 when no call
// is left; refusals only grow.
struct AdmissionCounters {
  std::atomic<int64_t> calls{0};          // begun and not over
  std::atomic<int64_t> queued{0};         // that wait for memory
  std::atomic<int64_t> held_back{0};      // whose message waits for a place at the gate
  std::atomic<int64_t> granted_bytes{0};  // of the budget
  std::atomic<int64_t> granted_peak{0};   // the largest value since the last reset
  std::array<std::atomic<int64_t>, kRefusals> refused{};

  std::atomic<int64_t>& refused_for(Refusal why) { return refused[static_cast<size_t>(why)]; }
  int64_t refused_for(Refusal why) const { return refused[static_cast<size_t>(why)]; }
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_COUNTERS_H_
