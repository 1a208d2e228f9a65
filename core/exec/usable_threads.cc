#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/exec/executor.h"

namespace lossd {
namespace {

// Directories of this process's cgroup and its ancestors that may limit the CPU, version 2 and 1.
std::vector<std::string> CgroupDirectories() {
  std::vector<std::string> directories = {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu"};
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool v2 = fields[1].empty();
    if (!v2 && !absl::StrContains(absl::StrCat(",", fields[1], ","), ",cpu,")) continue;
    std::string path = fields[2];
    while (path.size() > 1) {
      directories.push_back(absl::StrCat(v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", path));
      path.resize(path.rfind('/'));
    }
  }
  return directories;
}

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

int UsableThreads() {
  cpu_set_t affinity;
  int threads = sched_getaffinity(0, sizeof affinity, &affinity) == 0 ? CPU_COUNT(&affinity) : 1;
  for (const std::string& directory : CgroupDirectories()) {
    if (const std::optional<double> quota = QuotaIn(directory)) {
      threads = std::min(threads, std::max(1, static_cast<int>(std::ceil(*quota))));
    }
  }
  return std::max(threads, 1);
}

}  // namespace lossd
