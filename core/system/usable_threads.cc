#include "core/system/usable_threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include "core/system/cgroup.h"

namespace lossd {
namespace {

// CPUs granted by one directory's quota; nullopt where there is none.
std::optional<double> QuotaIn(const std::string& directory) {
  std::string quota;
  double period = 0;
  if (std::ifstream v2(directory + "/cpu.max"); v2 >> quota >> period) {
    if (quota == "max" || period <= 0) return std::nullopt;
    return std::strtod(quota.c_str(), nullptr) / period;
  }
  double microseconds = 0;
  std::ifstream v1_quota(directory + "/cpu.cfs_quota_us");
  std::ifstream v1_period(directory + "/cpu.cfs_period_us");
  if (v1_quota >> microseconds && v1_period >> period && microseconds > 0 && period > 0) {
    return microseconds / period;
  }
  return std::nullopt;
}

}  // namespace

int QuotaThreads(int threads, const std::string& root) {
  for (const std::string& directory : CgroupDirectories("cpu", root)) {
    if (const std::optional<double> quota = QuotaIn(directory)) {
      threads = std::min(threads, std::max(1, static_cast<int>(std::ceil(*quota))));
    }
  }
  return std::max(threads, 1);
}

int UsableThreads() {
  cpu_set_t affinity;
  const bool known = sched_getaffinity(0, sizeof affinity, &affinity) == 0;
  return QuotaThreads(known ? CPU_COUNT(&affinity) : 1);
}

}  // namespace lossd
