#ifndef LOSSD_CORE_SYSTEM_USABLE_THREADS_H_
#define LOSSD_CORE_SYSTEM_USABLE_THREADS_H_

#include <string>

namespace lossd {

// min(CPU affinity, CPU quota of the cgroup rounded up), at least 1.
int UsableThreads();

// `threads`, or fewer where a cgroup's CPU quota says so. `root` stands in front of /proc and /sys,
// for tests.
int QuotaThreads(int threads, const std::string& root = "");

}  // namespace lossd

#endif  // LOSSD_CORE_SYSTEM_USABLE_THREADS_H_
