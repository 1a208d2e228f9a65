#include "client/lossctl/health_command.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/lossctl/report.h"
#include "client/lossctl/units.h"

namespace lossd::lossctl {

HealthExitCode ToExitCode(const absl::StatusOr<bool>& serving) {
  if (serving.ok()) return *serving ? kServing : kNotServing;
  return absl::IsUnavailable(serving.status()) ? kCannotConnect : kRpcFailed;
}

int RunHealth(const ServerFlags& flags, const std::string& service) {
  CallOptions options;
  options.timeout = absl::Seconds(1);
  if (const absl::Status status = ReadTimeout(flags, &options.timeout); !status.ok()) {
    BadUsage(status.message());
    return kBadArguments;
  }
  // A probe reports what is; its caller decides whether to ask again.
  absl::StatusOr<Client> client =
      Connect(flags, {.timeout = options.timeout, .retry = {.max_attempts = 1}, .channels = 1});
  if (!client.ok()) {
    BadUsage(client.status().message());
    return kBadArguments;
  }
  const absl::StatusOr<bool> serving = client->CheckHealth(service, options);
  const HealthExitCode code = ToExitCode(serving);
  if (!serving.ok()) {
    absl::FPrintF(stderr, "lossctl: %s %s: %s: %s\n",
                  code == kCannotConnect ? "cannot connect to" : "health check failed on",
                  *flags.server, absl::StatusCodeToString(serving.status().code()),
                  OneLine(serving.status().message()));
    return code;
  }
  const int printed = Print(code == kServing ? "SERVING\n" : "NOT_SERVING\n");
  return printed == kDone ? code : kBadArguments;
}

}  // namespace lossd::lossctl
