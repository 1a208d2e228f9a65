#include "server/metrics/process_state.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Seconds since 1970 at which the system started: the line "btime N" of /proc/stat.
std::optional<int64_t> BootTime(const std::string& root) {
  const std::string text = ReadText(root + "/proc/stat");
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    int64_t seconds = 0;
    if (line.substr(0, 6) == "btime " && absl::SimpleAtoi(line.substr(6), &seconds)) return seconds;
  }
  return std::nullopt;
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

// Fields by their numbers in proc(5); the second, a name, may hold blanks and parentheses.
std::optional<ProcessState> ReadProcessState(const std::string& root) {
  const std::string text = ReadText(root + "/proc/self/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(text).substr(name_end + 1), ' ', absl::SkipWhitespace());
  const auto field = [&](size_t number) -> std::optional<int64_t> {
    constexpr size_t kFirst = 3;  // the one behind the name
    int64_t value = 0;
    if (number - kFirst >= fields.size()) return std::nullopt;
    if (!absl::SimpleAtoi(fields[number - kFirst], &value)) return std::nullopt;
    return value;
  };
  const std::optional<int64_t> boot = BootTime(root);
  const std::optional<int64_t> start_ticks = field(22);
  const std::optional<int64_t> virtual_bytes = field(23);
  const std::optional<int64_t> resident_pages = field(24);
  if (!boot || !start_ticks || !virtual_bytes || !resident_pages) return std::nullopt;
  return ProcessState{
      .resident_bytes = *resident_pages * sysconf(_SC_PAGESIZE),
      .virtual_bytes = *virtual_bytes,
      .start_time = static_cast<double>(*boot) +
                    static_cast<double>(*start_ticks) / static_cast<double>(sysconf(_SC_CLK_TCK))};
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
}

int64_t OpenDescriptors() {
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc/self/fd", error);
  int64_t count = 0;
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) ++count;
  return count;
}

int64_t MaxDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int64_t>(limit.rlim_cur);
}

}  // namespace lossd
