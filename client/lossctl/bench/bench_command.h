#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_COMMAND_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_COMMAND_H_

#include "client/lossctl/bench/bench_flags.h"

namespace lossd::lossctl {

// `lossctl bench`; returns the exit code. SIGINT and SIGTERM end the load, and the report follows;
// a second one ends the program.
int RunBench(const BenchFlags& flags);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_COMMAND_H_
