#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_METRICS_PAGE_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_METRICS_PAGE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace lossd::lossctl {

// The address at which a lossd serves its metrics.
struct MetricsAddress {
  std::string text;  // as it was given: host:port or [IPv6]:port
  std::string host;
  int port = 0;
};

// Addresses with commas between them. kInvalidArgument, naming `flag`.
absl::StatusOr<std::vector<MetricsAddress>> ParseMetricsAddresses(absl::string_view flag,
                                                                  absl::string_view text);

// The body of http://ADDRESS/metrics. kUnavailable where no server listens, nothing comes within
// `patience`, or it is not a page of at most kMostPageBytes.
absl::StatusOr<std::string> ReadMetricsPage(const MetricsAddress& address, absl::Duration patience);
inline constexpr size_t kMostPageBytes = size_t{4} << 20;

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_METRICS_PAGE_H_
