#ifndef LOSSD_SERVER_CONFIG_OPTIONS_H_
#define LOSSD_SERVER_CONFIG_OPTIONS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/flags/flag.h"
#include "protos/wire/limits.h"
#include "server/admission/call_caps.h"
#include "server/admission/call_times.h"
#include "server/log/audit_log.h"
#include "server/log/log.h"
#include "server/security/tls_files.h"

namespace lossd {

// Of max_unary_bytes and max_block_bytes: room for shapes and options; what gRPC can count.
inline constexpr SizeRange kMessageBytes = {4 << 10, std::numeric_limits<int32_t>::max()};
// Of max_side_bytes and max_tensor_bytes.
inline constexpr SizeRange kTensorBytes = {0, std::numeric_limits<int64_t>::max()};
inline constexpr SizeRange kMemoryBudget = {1 << 20, std::numeric_limits<int64_t>::max()};

// What becomes of connections.
struct ConnectionOptions {
  int64_t max_connections = 0;                           // open at once; 0: DefaultMaxConnections()
  int max_streams = 100;                                 // calls at once on one connection
  absl::Duration handshake_timeout = absl::Seconds(5);   // of TLS and of HTTP/2 together
  absl::Duration keepalive_time = absl::Seconds(60);     // without a byte; then the peer is asked
  absl::Duration keepalive_timeout = absl::Seconds(10);  // for its answer
  // Then the client is asked to connect again; calls that have begun may take max_age_grace.
  absl::Duration max_idle = absl::Minutes(5);
  absl::Duration max_age = absl::Hours(1);
  absl::Duration max_age_grace = absl::Minutes(10);
};

struct ServerOptions {
  std::vector<std::string> listen = {"127.0.0.1:50151"};
  bool insecure_listen = false;  // addresses that other machines reach may do without TLS
  std::string health_listen;     // where grpc.health.v1 alone is served; empty: nowhere
  std::string metrics_listen;    // where metrics are served, over HTTP; empty: nowhere
  std::string shared_memory;     // unix:/path, where clients share memory; empty: nowhere
  TlsFiles tls;
  std::string auth_token_file;  // empty: calls need no token
  // The proxies that may name the addresses of clients; see TrustedProxies::Parse.
  std::string trusted_proxies;
  ConnectionOptions connections;
  bool reflection = false;
  int threads = 0;  // that compute; 0: what this process may use
  wire::Limits limits = {};
  int64_t memory_budget = 0;  // that calls may hold together; 0: DefaultBudget(MemoryLimit())
  CallLimits calls = {};
  TimeLimits times = {};
  Log* log = nullptr;         // outlives the server; null: nothing is written
  AuditLog* audit = nullptr;  // outlives the server; null: nothing is written
};

// Below half of the descriptors this process may open, so that the rest of it never lacks one.
int64_t MostConnections();
int64_t DefaultMaxConnections();

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_OPTIONS_H_
