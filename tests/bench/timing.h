#ifndef LOSSD_TESTS_BENCH_TIMING_H_
#define LOSSD_TESTS_BENCH_TIMING_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "tests/bench/row.h"

namespace lossd::bench {

// Wall-clock time of one run.
double Milliseconds(absl::FunctionRef<void()> run);

// The value below which `share` of the samples lie; sorts them. Precondition: not empty.
double Quantile(std::vector<double>& samples, double share);

// Runs both once to warm up, then `repeats` times in turn, who is first changing each time; the
// medians, with the spread in the note.
Measured Paired(int repeats, absl::FunctionRef<void()> ours, absl::FunctionRef<void()> reference);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_TIMING_H_
