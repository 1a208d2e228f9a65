#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tests/bench/pair.h"
#include "tests/bench/row.h"
#include "tests/bench/timing.h"

// Memory of the server and of the client library, as the system counts it.

namespace lossd::bench {
namespace {

constexpr int64_t kClasses = 32768;

// A line "Key:   123 kB" of /proc/PID/status, in mebibytes.
double StatusMebibytes(int64_t pid, const std::string& key) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, absl::StrCat(key, ":"))) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    double kilobytes = 0;
    if (words.size() == 3 && absl::SimpleAtod(words[1], &kilobytes)) return kilobytes / 1024;
    const std::vector<std::string> tabbed = absl::StrSplit(words[0], '\t', absl::SkipEmpty());
    if (tabbed.size() == 2 && absl::SimpleAtod(tabbed[1], &kilobytes)) return kilobytes / 1024;
  }
  return 0;
}

double Resident(int64_t pid) { return StatusMebibytes(pid, "VmRSS"); }
double PeakResident(int64_t pid) { return StatusMebibytes(pid, "VmHWM"); }

// The peak counts from here on.
void ResetPeak(int64_t pid) { std::ofstream(absl::StrCat("/proc/", pid, "/clear_refs")) << "5"; }

int64_t MinorFaults(int64_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(file, text);
  // Fields are counted from behind the program's name, which may hold blanks: state is the third.
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(text.rfind(')') + 2), ' ', absl::SkipEmpty());
  int64_t faults = 0;
  return fields.size() > 7 && absl::SimpleAtoi(fields[7], &faults) ? faults : 0;
}

// All of it from one server: a call to wake it, the large stream, then the load.
struct Figures {
  double large_peak = 0;   // server above idle, while 8 GiB stream in place
  double client_peak = 0;  // this process above its buffers, meanwhile
  double load_peak = 0;    // server above idle, while 128 MiB streams follow each other
  double faults = 0;       // server, minor faults a call in the second half of them
  double after = 0;        // server above idle, 10 s after
  std::string load_note = {};
};

Figures MeasureFigures() {
  Figures figures;
  Pair pair;
  const int64_t server = pair.lossd().process().pid();
  const double idle = Resident(server);
  {
    const Problem problem(DType::kF32, {(int64_t{8} << 30) / 4 / kClasses, kClasses});
    // In place: the memory is the bench's own, so it may be written.
    const ByteSpan bytes = problem.inputs().predictions.bytes;
    const MutableByteSpan in_place(const_cast<std::byte*>(bytes.data()), bytes.size());
    ResetPeak(server);
    ResetPeak(getpid());
    const double client = Resident(getpid());
    ComputeOrDie(pair.client(), problem, in_place);
    figures.large_peak = PeakResident(server) - idle;
    figures.client_peak = PeakResident(getpid()) - client;
  }
  const Problem problem(DType::kF32, {(int64_t{128} << 20) / 4 / kClasses, kClasses});
  const Buffer gradient(problem.inputs().predictions.bytes.size());
  ResetPeak(server);
  const auto run_for = [&](std::chrono::seconds time) {
    int calls = 0;
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {
      ComputeOrDie(pair.client(), problem, gradient.span());
      ++calls;
    }
    return calls;
  };
  const int64_t cold = MinorFaults(server);
  const int first = run_for(std::chrono::seconds(15));
  const int64_t warm = MinorFaults(server);
  const int second = run_for(std::chrono::seconds(15));
  figures.faults = static_cast<double>(MinorFaults(server) - warm) / second;
  figures.load_peak = PeakResident(server) - idle;
  figures.load_note = absl::StrFormat("%d calls; first half %.0f faults a call", first + second,
                                      static_cast<double>(warm - cold) / first);
  std::this_thread::sleep_for(std::chrono::seconds(10));
  figures.after = Resident(server) - idle;
  return figures;
}

const Figures& TheFigures() {
  static const Figures figures = MeasureFigures();
  return figures;
}

Row MemoryRow(const char* name, BarKind kind, double bar, double Figures::*figure) {
  return {.name = name,
          .reference = "idle",
          .bar = {kind, bar},
          .slow = true,
          .measure = [figure](const Settings&) {
            return Measured{.ours = TheFigures().*figure, .note = TheFigures().load_note};
          }};
}

}  // namespace

std::vector<Row> MemoryRows() {
  // A call of 128 MiB each way fills 65536 pages; a hundredth of that is not a storm.
  constexpr double kFewFaults = 655;
  const BarKind mebibytes = BarKind::kMebibytes;
  return {MemoryRow("server peak, 8 GiB in place", mebibytes, 160, &Figures::large_peak),
          MemoryRow("client peak beside its buffers, 8 GiB", mebibytes, 64, &Figures::client_peak),
          MemoryRow("server peak, 30 s of 128 MiB", mebibytes, 256, &Figures::load_peak),
          MemoryRow("server minor faults a call", BarKind::kCount, kFewFaults, &Figures::faults),
          MemoryRow("server 10 s after", mebibytes, 64, &Figures::after)};
}

}  // namespace lossd::bench
