#include "tests/faults/proc.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/clock.h"

namespace lossd {

ProcessState StateOf(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::ifstream file(folder + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');
  ProcessState state;
  if (name_end == std::string::npos) return state;
  std::istringstream words(text.substr(name_end + 1));
  std::vector<std::string> fields;  // from the third on: proc(5)
  for (std::string word; words >> word;) fields.push_back(word);
  if (fields.size() < 22 || fields[0] == "Z") return state;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  state.cpu = absl::Seconds((std::stod(fields[11]) + std::stod(fields[12])) / ticks);
  state.threads = std::stoll(fields[17]);
  state.rss_bytes = std::stoll(fields[21]) * sysconf(_SC_PAGESIZE);
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder + "/fd", error), end; it != end;
       it.increment(error)) {
    ++state.descriptors;
  }
  return state;
}

std::vector<std::string> DescriptorsOf(pid_t pid) {
  std::vector<std::string> names;
  std::error_code error;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  for (std::filesystem::directory_iterator it(folder, error), end; it != end; it.increment(error)) {
    std::error_code closed_meanwhile;
    names.push_back(std::filesystem::read_symlink(it->path(), closed_meanwhile).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

int64_t PeakRssBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; file >> word;) {
    int64_t kib = 0;
    if (word == "VmHWM:" && file >> kib) return kib << 10;
  }
  return 0;
}

bool IsSanitized(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(file, line);) {
    if (line.find("/libasan.") != std::string::npos ||
        line.find("/libtsan.") != std::string::npos) {
      return true;
    }
  }
  return false;
}

bool HoldsWithin(absl::Duration time, const std::function<bool()>& condition) {
  const absl::Time until = absl::Now() + time;
  while (!condition()) {
    if (absl::Now() > until) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

}  // namespace lossd
