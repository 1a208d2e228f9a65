#ifndef LOSSD_CORE_SYSTEM_CGROUP_H_
#define LOSSD_CORE_SYSTEM_CGROUP_H_

#include <string>
#include <string_view>
#include <vector>

namespace lossd {

// Directories of the cgroups, of version 1 and 2, that may limit what `controller` ("cpu",
// "memory") hands out to this process: its own, their ancestors, and the root, in which a container
// sees its own limits. `root` stands in front of /proc and /sys, for tests.
std::vector<std::string> CgroupDirectories(std::string_view controller,
                                           const std::string& root = "");

}  // namespace lossd

#endif  // LOSSD_CORE_SYSTEM_CGROUP_H_
