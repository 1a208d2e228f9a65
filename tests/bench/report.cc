#include "tests/bench/report.h"

#include <sys/utsname.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/exec/simd.h"
#include "core/system/usable_threads.h"

namespace lossd::bench {
namespace {

// The value behind the first line of `path` that starts with `key`, without "key:".
std::string LineOf(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, key)) continue;
    const size_t colon = line.find(':');
    return std::string(
        absl::StripAsciiWhitespace(colon == std::string::npos ? line : line.substr(colon + 1)));
  }
  return "unknown";
}

std::string KernelName() {
  utsname name{};
  return uname(&name) == 0 ? absl::StrCat(name.sysname, " ", name.release) : "unknown";
}

std::string Amount(double value, BarKind kind) {
  if (kind == BarKind::kMebibytes) return absl::StrFormat("%.1f MiB", value);
  if (kind == BarKind::kCount) return absl::StrFormat("%.0f", value);
  if (value < 0.1) return absl::StrFormat("%.2f us", value * 1e3);
  return absl::StrFormat("%.3f ms", value);
}

std::string BarText(const Bar& bar) {
  switch (bar.kind) {
    case BarKind::kRatio:
      return absl::StrFormat("%.2f", bar.value);
    case BarKind::kExtraMilliseconds:
      return absl::StrFormat("+%.0f ms", bar.value);
    case BarKind::kMilliseconds:
    case BarKind::kMebibytes:
    case BarKind::kCount:
      return Amount(bar.value, bar.kind);
  }
  return "";
}

std::optional<double> Ratio(const Measured& measured) {
  if (!measured.reference || *measured.reference == 0) return std::nullopt;
  return measured.ours / *measured.reference;
}

}  // namespace

Machine DescribeMachine() {
  return {.cpu = LineOf("/proc/cpuinfo", "model name"),
          .threads = UsableThreads(),
          .memory = LineOf("/proc/meminfo", "MemTotal"),
          .kernel = KernelName(),
          .compiler = absl::StrCat("g++ ", __VERSION__),
          .flags = LOSSD_BENCH_FLAGS,
          .simd_target = std::string(ActiveSimdTarget()),
          .load = LineOf("/proc/loadavg", "")};
}

bool Result::Holds() const {
  switch (row.bar.kind) {
    case BarKind::kRatio:
      return Ratio(measured).value_or(0) <= row.bar.value;
    case BarKind::kExtraMilliseconds:
      return measured.ours - measured.reference.value_or(0) <= row.bar.value;
    case BarKind::kMilliseconds:
    case BarKind::kMebibytes:
    case BarKind::kCount:
      return measured.ours <= row.bar.value;
  }
  return false;
}

void PrintMachine(const Machine& machine) {
  std::printf("%s, %d threads, %s, %s\n%s %s, SIMD target %s, load %s\n\n", machine.cpu.c_str(),
              machine.threads, machine.memory.c_str(), machine.kernel.c_str(),
              machine.compiler.c_str(), machine.flags.c_str(), machine.simd_target.c_str(),
              machine.load.c_str());
}

void PrintHeading() {
  std::printf("%-38s %11s %11s %6s %10s %-5s  %s\n", "", "ours", "reference", "ratio", "bar",
              "holds", "reference and repeats");
}

void PrintResult(const Result& result) {
  const Measured& measured = result.measured;
  const BarKind kind = result.row.bar.kind;
  const std::optional<double> ratio = Ratio(measured);
  std::printf(
      "%-38s %11s %11s %6s %10s %-5s  %s; %s\n", result.row.name.c_str(),
      Amount(measured.ours, kind).c_str(),
      measured.reference ? Amount(*measured.reference, kind).c_str() : "",
      ratio && kind != BarKind::kMilliseconds ? absl::StrFormat("%.2f", *ratio).c_str() : "",
      BarText(result.row.bar).c_str(), result.Holds() ? "yes" : "NO", result.row.reference.c_str(),
      measured.note.c_str());
  std::fflush(stdout);
}

std::string ToJson(const Machine& machine, const std::vector<Result>& results) {
  nlohmann::ordered_json json;
  json["machine"] = {{"cpu", machine.cpu},           {"threads", machine.threads},
                     {"memory", machine.memory},     {"kernel", machine.kernel},
                     {"compiler", machine.compiler}, {"flags", machine.flags},
                     {"simd", machine.simd_target},  {"load", machine.load}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const Result& result : results) {
    const BarKind kind = result.row.bar.kind;
    const bool timed = kind != BarKind::kMebibytes && kind != BarKind::kCount;
    nlohmann::ordered_json row;
    row["name"] = result.row.name;
    row[timed ? "ours_ms" : kind == BarKind::kCount ? "ours" : "ours_mib"] = result.measured.ours;
    const auto or_null = [](const std::optional<double>& value) {
      return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
    };
    if (timed) {
      row["reference_ms"] = or_null(result.measured.reference);
      row["ratio"] = or_null(Ratio(result.measured));
    }
    row["bar"] = BarText(result.row.bar);
    row["holds"] = result.Holds();
    row["reference"] = result.row.reference;
    row["note"] = result.measured.note;
    json["rows"].push_back(std::move(row));
  }
  return json.dump(2) + "\n";
}

}  // namespace lossd::bench
