#ifndef LOSSD_SERVER_ADMISSION_MEMORY_LIMIT_H_
#define LOSSD_SERVER_ADMISSION_MEMORY_LIMIT_H_

#include <algorithm>
#include <cstdint>
#include <string>

namespace lossd {

// min(physical memory, memory limits of the cgroups of version 1 and 2), in bytes. `root` as for
// CgroupDirectories.
int64_t MemoryLimit(const std::string& root = "");

// What calls may hold together, unless told otherwise: half of the memory. The other half is for
// what is not counted: gRPC's own buffers, which keep a window for each stream, idle output memory,
// and the program itself.
inline int64_t DefaultBudget(int64_t memory_limit) { return memory_limit / 2; }

// How many messages of unknown size, up to `message`, may be on their way at once: half as much as
// the budget again. At least two, so that one that never comes does not stop all.
inline int64_t MessagePlaces(int64_t budget, int64_t message) {
  return std::max<int64_t>(2, budget / 2 / message);
}

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_MEMORY_LIMIT_H_
