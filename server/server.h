#ifndef LOSSD_SERVER_SERVER_H_
#define LOSSD_SERVER_SERVER_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "protos/wire/limits.h"
#include "server/admission/counters.h"

namespace lossd {

struct SizeRange {
  int64_t least;
  int64_t most;
};
// Of max_unary_bytes and max_block_bytes: room for shapes and options; what gRPC can count.
inline constexpr SizeRange kMessageBytes = {4 << 10, std::numeric_limits<int32_t>::max()};
// Of max_side_bytes and max_tensor_bytes.
inline constexpr SizeRange kTensorBytes = {0, std::numeric_limits<int64_t>::max()};

struct ServerOptions {
  std::vector<std::string> listen = {"127.0.0.1:50151"};
  int threads = 0;  // that compute; 0: what this process may use
  wire::Limits limits = {};
  std::string auth_token_file;  // empty: calls need no token
};

// A lossd server: LossService, grpc.health.v1 and reflection on all its addresses.
class Server {
 public:
  // Serves when it returns. kInvalidArgument for an option out of range, kFailedPrecondition for an
  // address that cannot be had, also if another server has it.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);

  // Breaks off what is in flight, unless Drain came first.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // One per ServerOptions::listen, as given but with the bound port.
  const std::vector<std::string>& addresses() const;

  // Reports NOT_SERVING, takes no more calls, lets those in flight finish for at most `timeout`,
  // breaks off the rest, and waits until all is gone. Only once.
  void Drain(absl::Duration timeout);

  // What is held at the moment.
  int64_t live_calls() const;
  int64_t loaned_output_bytes() const;

  const AdmissionCounters& admission() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SERVER_H_
