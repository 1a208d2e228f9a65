#include "core/system/cgroup.h"

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace lossd {

std::vector<std::string> CgroupDirectories(std::string_view controller, const std::string& root) {
  const std::string v2 = root + "/sys/fs/cgroup";
  const std::string v1 = absl::StrCat(v2, "/", std::string(controller));
  const std::string wanted = absl::StrCat(",", std::string(controller), ",");
  std::vector<std::string> directories = {v2, v1};
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool unified = fields[1].empty();
    if (!unified && !absl::StrContains(absl::StrCat(",", fields[1], ","), wanted)) continue;
    for (std::string path = fields[2]; path.size() > 1; path.resize(path.rfind('/'))) {
      if (path.front() != '/') break;  // outside of what this process sees
      directories.push_back((unified ? v2 : v1) + path);
    }
  }
  return directories;
}

}  // namespace lossd
