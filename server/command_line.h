#ifndef LOSSD_SERVER_COMMAND_LINE_H_
#define LOSSD_SERVER_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/log/log.h"
#include "server/server.h"

namespace lossd {

struct CommandLine {
  ServerOptions server;
  LogOptions log;
  std::string audit_log;  // path, or "-" for standard error; empty: none
  bool sandbox = true;    // what a server does not need is given up (server/sandbox.h)
  absl::Duration drain_timeout = absl::Seconds(30);
  std::string print;  // not empty: print this (help, version, configuration) and do nothing else
};

// What flags say, else `variables` of the environment ("NAME=VALUE"), else the file that --config
// or LOSSD_CONFIG names. kInvalidArgument, in one line that names flag, variable or line of the
// file, for what cannot be used.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv,
                                             const std::vector<std::string>& variables = {});

}  // namespace lossd

#endif  // LOSSD_SERVER_COMMAND_LINE_H_
