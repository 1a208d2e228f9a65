#ifndef LOSSD_SERVER_ADMISSION_INSTANT_H_
#define LOSSD_SERVER_ADMISSION_INSTANT_H_

#include <chrono>

namespace lossd {

// Monotonic time: setting the wall clock neither ends calls nor lengthens them.
using Instant = std::chrono::steady_clock::time_point;
using Interval = std::chrono::steady_clock::duration;

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_INSTANT_H_
