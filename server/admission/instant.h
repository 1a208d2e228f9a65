#ifndef LOSSD_SERVER_ADMISSION_INSTANT_H_
#define LOSSD_SERVER_ADMISSION_INSTANT_H_

#include <chrono>

namespace lossd {

// Time as it passes: whoever sets the wall clock neither ends calls nor lengthens them.
using Instant = std::chrono::steady_clock::time_point;
using Interval = std::chrono::steady_clock::duration;

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_INSTANT_H_
