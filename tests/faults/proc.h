#ifndef LOSSD_TESTS_FAULTS_PROC_H_
#define LOSSD_TESTS_FAULTS_PROC_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

// What the kernel says of a process.
namespace lossd {

struct ProcessState {
  int64_t rss_bytes = 0;
  int64_t descriptors = 0;
  int64_t threads = 0;
  absl::Duration cpu = absl::ZeroDuration();
};

// All zeros where there is no such process, or it has ended and was not reaped.
ProcessState StateOf(pid_t pid);

// What its descriptors are open on ("socket:[81]", "/var/log/x", "anon_inode:[eventfd]"), sorted;
// empty where there is no such process.
std::vector<std::string> DescriptorsOf(pid_t pid);

// The most that was resident since it began; 0 where there is no such process.
int64_t PeakRssBytes(pid_t pid);

// Whether it runs with the address or the thread sanitizer, which keep memory that was freed.
bool IsSanitized(pid_t pid);

// Looks again and again until `condition` holds; false: it did not within that time.
bool HoldsWithin(absl::Duration time, const std::function<bool()>& condition);

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_PROC_H_
