#ifndef LOSSD_SERVER_SERVER_H_
#define LOSSD_SERVER_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/admission/counters.h"
#include "server/config/options.h"
#include "server/config/settings.h"

namespace lossd {

// A lossd server: LossService and grpc.health.v1 on all its addresses.
class Server {
 public:
  // Serves when it returns. kInvalidArgument for an option out of range or a file that cannot be
  // used, kFailedPrecondition for an address that cannot be had, also if another server has it.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& given);

  // Breaks off what is in flight, unless Drain came first.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // One per ServerOptions::listen, as given but with the bound port.
  const std::vector<std::string>& addresses() const;
  const std::string& health_address() const;   // empty: ServerOptions::health_listen was
  const std::string& metrics_address() const;  // empty: ServerOptions::metrics_listen was

  // What is in force, also where options left it open.
  Settings settings() const;

  // Reads certificates and tokens again, at once, and returns when that is done. What cannot be
  // used changes nothing, and the log says why.
  void Reload();

  // Reports NOT_SERVING, takes no more calls, lets those in flight finish for at most `timeout`,
  // breaks off the rest, and waits until all is gone. Only once.
  void Drain(absl::Duration timeout);

  // What is held at the moment.
  int64_t connections() const;
  int64_t live_calls() const;
  int64_t loaned_output_bytes() const;
  int64_t shared_regions() const;

  const AdmissionCounters& admission() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SERVER_H_
