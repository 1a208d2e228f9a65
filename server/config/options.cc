#include "server/config/options.h"

#include <sys/resource.h>

#include <algorithm>

namespace lossd {
namespace {

// What a connection costs without a call, about 50 KiB, times this is not much for a server.
constexpr int64_t kManyConnections = 4096;

}  // namespace

int64_t MostConnections() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kMost = std::numeric_limits<int32_t>::max();
  return std::max<int64_t>(1, static_cast<int64_t>(std::min(limit.rlim_cur, kMost)) / 2 - 1);
}

int64_t DefaultMaxConnections() { return std::min(kManyConnections, MostConnections()); }

}  // namespace lossd
