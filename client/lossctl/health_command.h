#ifndef LOSSD_LOSSCTL_HEALTH_COMMAND_H_
#define LOSSD_LOSSCTL_HEALTH_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/lossctl/flags.h"

namespace lossd::lossctl {

// Those of grpc_health_probe.
enum HealthExitCode : int {
  kServing = 0,
  kBadArguments = 1,
  kCannotConnect = 2,
  kRpcFailed = 3,  // the server answered with an error, or not in time
  kNotServing = 4,
};

HealthExitCode ToExitCode(const absl::StatusOr<bool>& serving);

// `lossctl health`; returns the exit code.
int RunHealth(const ServerFlags& flags, const std::string& service);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_HEALTH_COMMAND_H_
