#ifndef LOSSD_SERVER_ADMISSION_MEMORY_LIMIT_H_
#define LOSSD_SERVER_ADMISSION_MEMORY_LIMIT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace lossd {

// min(physical memory, memory limits of the cgroups of version 1 and 2), in bytes. `root` as for
// CgroupDirectories.
int64_t MemoryLimit(const std::string& root = "");

// What calls may hold together, unless told otherwise: half of the memory. The other half is for
// what is not counted: gRPC's own buffers, which keep a window for each stream, idle output memory,
// and the program itself.
inline int64_t DefaultBudget(int64_t memory_limit) { return memory_limit / 2; }

// What gRPC may hold before it slows its connections down, closes idle ones and breaks calls off:
// the messages that the budget has granted, and as much as half of it again, at least 256 MiB, for
// what connections and streams keep between messages. Calls that keep to the budget do not meet it.
inline constexpr int64_t kLeastOfGrpc = int64_t{256} << 20;
inline size_t GrpcQuota(int64_t budget) {
  const int64_t beside = std::max(kLeastOfGrpc, budget / 2);
  int64_t sum = 0;
  return __builtin_add_overflow(budget, beside, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

// How many messages of unknown size, up to `message`, may be on their way at once: half as much as
// the budget again. At least two, so that one that never comes does not stop all.
inline int64_t MessagePlaces(int64_t budget, int64_t message) {
  return std::max<int64_t>(2, budget / 2 / message);
}

// How many streams are read at once, behind their headers: enough that the computing threads have
// work while others read and write, and no more, since each holds several messages.
inline int64_t ActiveStreams(int threads) { return 2 * threads + 4; }

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_MEMORY_LIMIT_H_
