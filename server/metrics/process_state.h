#ifndef LOSSD_SERVER_METRICS_PROCESS_STATE_H_
#define LOSSD_SERVER_METRICS_PROCESS_STATE_H_

#include <cstdint>
#include <optional>
#include <string>

namespace lossd {

// What Linux says of this process.
struct ProcessState {
  int64_t resident_bytes = 0;
  int64_t virtual_bytes = 0;
  double start_time = 0;  // seconds since 1970
};

// nullopt where /proc does not tell. `root` stands in front of /proc, for tests.
std::optional<ProcessState> ReadProcessState(const std::string& root = "");

double CpuSeconds();  // of all threads, user and system

int64_t OpenDescriptors();  // 0 where /proc does not tell
int64_t MaxDescriptors();

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_PROCESS_STATE_H_
