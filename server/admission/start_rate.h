#ifndef LOSSD_SERVER_ADMISSION_START_RATE_H_
#define LOSSD_SERVER_ADMISSION_START_RATE_H_

#include <algorithm>
#include <chrono>

#include "server/admission/instant.h"

namespace lossd {

// A token bucket of call starts: it holds at most one second's worth of them. A start that costs
// more than is left makes a debt of at most a second's worth. The rate may differ at each call.
class StartRate {
 public:
  StartRate(double left, Instant now) : left_(left), filled_(now) {}

  // How many may begin now.
  double Left(double per_second, Instant now) {
    const double seconds = std::chrono::duration<double>(now - filled_).count();
    left_ = std::min(per_second, left_ + std::max(seconds, 0.0) * per_second);
    filled_ = std::max(filled_, now);
    return left_;
  }

  void Take(double starts, double per_second) { left_ = std::max(left_ - starts, -per_second); }

 private:
  double left_;
  Instant filled_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_START_RATE_H_
