#include "server/admission/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "core/system/cgroup.h"

namespace lossd {
namespace {

// A file that begins with a number of bytes; "max" and what does not fit are no limit.
int64_t LimitIn(const std::string& path) {
  int64_t bytes = 0;
  std::ifstream file(path);
  return file >> bytes && bytes > 0 ? bytes : std::numeric_limits<int64_t>::max();
}

int64_t PhysicalMemory(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string name;
  int64_t kilobytes = 0;
  if (file >> name >> kilobytes && name == "MemTotal:") return kilobytes << 10;
  return std::numeric_limits<int64_t>::max();
}

}  // namespace

int64_t MemoryLimit(const std::string& root) {
  int64_t limit = PhysicalMemory(root);
  for (const std::string& directory : CgroupDirectories("memory", root)) {
    limit = std::min(limit, LimitIn(directory + "/memory.max"));
    limit = std::min(limit, LimitIn(directory + "/memory.limit_in_bytes"));
  }
  return limit;
}

}  // namespace lossd
