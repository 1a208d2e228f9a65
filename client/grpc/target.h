#ifndef LOSSD_CLIENT_GRPC_TARGET_H_
#define LOSSD_CLIENT_GRPC_TARGET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

// The servers that a client talks to.
struct Endpoints {
  std::vector<std::string> targets;  // gRPC targets, each to be dialled by itself; not empty
  bool replicas = false;             // more than one server may be behind them
};

// Reads the target of Client::Connect: a list "host:port,host:port", where every entry may be any
// gRPC target without a comma; "ipv4:a:p,b:p" and "ipv6:..." likewise; or one gRPC target as it is.
// A path of a Unix socket may have commas. kInvalidArgument for an empty target or entry, for more
// than kMaxTargets, and for what gRPC would take for something else than was meant: an address
// without a port (443), a URL, "unix:@name" (a file of that name).
absl::StatusOr<Endpoints> ReadTarget(absl::string_view target);
inline constexpr size_t kMaxTargets = 256;

// Whether what is sent to a gRPC target stays on this machine: a Unix socket, or loopback addresses
// and nothing else. Judged by the text, nothing is looked up; "localhost" counts (RFC 6761), and
// what is not understood does not.
bool IsLocalTarget(absl::string_view target);

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_TARGET_H_
