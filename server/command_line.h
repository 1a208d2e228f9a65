#ifndef LOSSD_SERVER_COMMAND_LINE_H_
#define LOSSD_SERVER_COMMAND_LINE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/log/log.h"
#include "server/server.h"

namespace lossd {

struct CommandLine {
  ServerOptions server;
  LogOptions log;
  absl::Duration drain_timeout = absl::Seconds(30);
  std::string print;  // not empty: print this (help, version) and do nothing else
};

// kInvalidArgument, in one line that names the flag, for what cannot be used.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

}  // namespace lossd

#endif  // LOSSD_SERVER_COMMAND_LINE_H_
