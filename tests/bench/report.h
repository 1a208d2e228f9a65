#ifndef LOSSD_TESTS_BENCH_REPORT_H_
#define LOSSD_TESTS_BENCH_REPORT_H_

#include <string>
#include <vector>

#include "tests/bench/row.h"

namespace lossd::bench {

// What the figures were taken on and with.
struct Machine {
  std::string cpu;
  int threads = 0;  // that this process may use
  std::string memory;
  std::string kernel;
  std::string compiler;
  std::string flags;
  std::string simd_target;
  std::string load;  // before the run; other work on the machine shows in the figures
};

Machine DescribeMachine();

struct Result {
  Row row;
  Measured measured;

  bool Holds() const;
};

// For people: the machine, and one line a row while the run goes on.
void PrintMachine(const Machine& machine);
void PrintHeading();
void PrintResult(const Result& result);

// For machines: {"machine": {...}, "rows": [{name, ours_ms, reference_ms, ratio, bar, holds}]};
// rows that are not times have ours_mib or ours instead.
std::string ToJson(const Machine& machine, const std::vector<Result>& results);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_REPORT_H_
