#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_EXPOSITION_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_EXPOSITION_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd::lossctl {

// One line of Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
struct Sample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;  // infinities and NaN included
};

// All samples of a text; comments and times of samples are passed over. kInvalidArgument, with the
// line, for what is no such text.
absl::StatusOr<std::vector<Sample>> ParseExposition(absl::string_view text);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_EXPOSITION_H_
