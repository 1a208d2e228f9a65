#ifndef LOSSD_SERVER_MEMORY_RELEASE_POLICY_H_
#define LOSSD_SERVER_MEMORY_RELEASE_POLICY_H_

#include <cstdint>

namespace lossd {

// Decides, period by period, when the memory that the allocator keeps goes back to the system:
// when a server has been idle for some periods, and, while calls go on, when more is kept than they
// had use for. What is kept for the next block of a stream stays (see KeepFreedMemory).
class ReleasePolicy {
 public:
  // Kept beyond the use of calls, and let be.
  static constexpr int64_t kSlack = int64_t{32} << 20;
  static constexpr int kIdlePeriods = 4;

  // `base`: bytes of the process before the first call.
  explicit ReleasePolicy(int64_t base) : base_(base) {}

  struct Period {
    int64_t begun = 0;     // calls that have begun so far
    int64_t live = 0;      // calls now
    int64_t resident = 0;  // bytes of the process now
    // The most that was granted to calls during the period or, if more, all that is in use now.
    int64_t used = 0;
  };

  // At the end of a period; true: release now. While releases do not help, because the free memory
  // lies between what is in use, they come after 1, 2, 4, ... periods.
  bool Due(const Period& period);

 private:
  const int64_t base_;
  int64_t begun_before_ = 0;    // at the end of the last period
  int64_t begun_released_ = 0;  // when memory was released because of idleness
  int idle_periods_ = 0;
  int wait_ = 0;  // periods until the next release while calls go on
  int next_wait_ = 1;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_MEMORY_RELEASE_POLICY_H_
