#ifndef LOSSD_TESTS_BENCH_ROW_H_
#define LOSSD_TESTS_BENCH_ROW_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

// A row of the benchmark: something of ours and a reference, run in turn in one run.

namespace lossd::bench {

struct Settings {
  bool quick = false;  // fewer repeats, and without the rows that take long
  int threads = 1;     // that this process may use
};

// What a bar bounds. Lower is better for all of them.
enum class BarKind : int8_t {
  kRatio,              // ours / reference
  kMilliseconds,       // ours
  kExtraMilliseconds,  // ours - reference
  kMebibytes,          // ours
  kCount,              // ours
};

struct Bar {
  BarKind kind;
  double value;
};

// In the unit of the bar: milliseconds, mebibytes, or a count.
struct Measured {
  double ours = 0;
  std::optional<double> reference = std::nullopt;
  std::string note = {};  // repeats and spread, or whatever else a reader of the figure needs
};

struct Row {
  std::string name;
  std::string reference;  // in words
  Bar bar;
  bool slow = false;  // left out of a quick run
  std::function<Measured(const Settings&)> measure;
};

std::vector<Row> KernelRows();
std::vector<Row> CallRows();
std::vector<Row> LatencyRows();
std::vector<Row> MemoryRows();
std::vector<Row> SharedRows();

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_ROW_H_
