#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_FLAGS_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/lossctl/bench/load.h"
#include "client/lossctl/bench/metrics_page.h"
#include "client/lossctl/bench/problem.h"
#include "client/lossctl/flags.h"
#include "lossd/client.h"

namespace lossd::lossctl {

// The flags of `lossctl bench`, as text.
struct BenchFlags {
  ServerFlags server;
  FlagText transport;
  FlagText fan_out;
  FlagText connections;
  FlagText attempts;
  FlagText loss;
  FlagText shape;
  FlagText dtype;
  FlagText inputs;
  FlagText seed;
  FlagText callers;
  FlagText rate;
  FlagText duration;
  FlagText calls;
  FlagText allow_failures;
  FlagText metrics;
  bool json = false;
};

// Those that take a value.
absl::Span<const FlagRow<BenchFlags>> BenchFlagTable();

// What the flags ask for.
struct BenchPlan {
  ProblemShape problem;
  Load load;
  ClientOptions client;
  CallOptions call;
  int64_t allowed_failures = 0;
  std::vector<MetricsAddress> metrics;
  std::string loss;  // as the flags say it, likewise below
  std::string transport;
};
absl::StatusOr<BenchPlan> ReadBench(const BenchFlags& flags);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_FLAGS_H_
