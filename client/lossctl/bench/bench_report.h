#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_REPORT_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "client/lossctl/bench/bench_flags.h"
#include "client/lossctl/bench/load.h"
#include "client/lossctl/bench/server_times.h"
#include "lossd/client.h"
#include "nlohmann/json.hpp"

namespace lossd::lossctl {

// One load that is over.
struct BenchReport {
  std::string server;
  ServerInfo info = {};
  BenchPlan plan;
  int64_t elements = 0;  // of the predictions of one call
  int64_t sent_bytes = 0;
  int64_t received_bytes = 0;
  Tally tally = {};
  std::optional<absl::StatusOr<ServerTimes>> server_times = {};  // none: not asked for

  // Whether all is as it should be: no wrong answer, no more failures than allowed, all known that
  // was asked for.
  bool well() const;
};

// For people, before the load: what is asked of whom, and how often.
std::string BenchHead(const BenchReport& report);

// For people, after it: the rest of the table, the times as a picture, what failed and why.
std::string BenchText(const BenchReport& report);

// For programs: one object; times in seconds, sizes in bytes.
nlohmann::ordered_json BenchJson(const BenchReport& report);

// How it goes, for a line of a terminal.
std::string BenchProgress(const Load& load, const Tally& so_far);

// A picture of the times, 18 lines at most; empty where there are none.
std::string Picture(const Histogram& times);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_BENCH_REPORT_H_
