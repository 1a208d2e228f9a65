#ifndef LOSSD_SERVER_FRONT_ACCEPT_LOOP_H_
#define LOSSD_SERVER_FRONT_ACCEPT_LOOP_H_

#include <grpcpp/server_builder.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/front/connection_refusal.h"
#include "server/front/listen_socket.h"
#include "server/front/open_connections.h"
#include "server/log/log.h"

namespace lossd {

// Takes the connections of a gRPC server, in a thread of its own; gRPC's own listener is deaf for
// good once accept() has failed for want of descriptors. (docs/adr/006)
//
// A connection goes to gRPC when its client has sent something; until then it is silent. Of silent
// ones there are few and none for long: what opens connections and says nothing, of whom there may
// be many, costs neither memory of gRPC nor a place among the connections.
class AcceptLoop {
 public:
  struct Limits {
    int64_t connections;  // open at once, silent ones included
    int64_t silent;       // at once; the oldest gives way
    absl::Duration silent_timeout;
    Log* log = nullptr;  // of connections that are refused; null: nothing is written
  };
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  // `acceptor` belongs to a server that was started. kUnavailable if the system has no descriptors.
  static absl::StatusOr<std::unique_ptr<AcceptLoop>> Start(std::vector<ListenSocket> sockets,
                                                           std::unique_ptr<Acceptor> acceptor,
                                                           const Limits& limits);

  // Stops.
  ~AcceptLoop();
  AcceptLoop(const AcceptLoop&) = delete;
  AcceptLoop& operator=(const AcceptLoop&) = delete;

  // Closes the listening sockets, so that nobody can connect any more, and silent connections.
  // Those of gRPC go on. To be done before gRPC's server is shut down.
  void Stop();

  int64_t connections();  // open now

  // Connections that were refused or ended so far, by reason. Thread-safe.
  std::array<int64_t, kConnectionRefusals> refused() const;

  // Ends a connection of gRPC's; see OpenConnections::Break. Thread-safe.
  void Break(std::string_view peer);

  // See OpenConnections::BytesReceived. Thread-safe.
  std::optional<int64_t> BytesReceived(std::string_view peer);

 private:
  struct Silent {
    OwnedFd fd;
    absl::Time until;
  };

  AcceptLoop(std::vector<ListenSocket> sockets, std::unique_ptr<Acceptor> acceptor,
             const Limits& limits)
      : sockets_(std::move(sockets)), acceptor_(std::move(acceptor)), limits_(limits) {}
  void Run();
  bool Turn();  // false: stopped
  std::vector<pollfd> Wanted(absl::Time now) const;
  int TimeoutMs(absl::Time now) const;
  void AcceptAll(int listener, absl::Time now);
  bool Accept(int listener, absl::Time now);
  void Admit(OwnedFd fd, absl::Time now);
  void Warn(std::string_view reason) const;
  void Count(ConnectionRefusal why) { ++refused_[static_cast<size_t>(why)]; }
  void HandOver(OwnedFd fd);
  void LookAtSilent(const std::vector<pollfd>& polled, absl::Time now);

  std::vector<ListenSocket> sockets_;
  const std::unique_ptr<Acceptor> acceptor_;
  const Limits limits_;
  OwnedFd stop_read_;
  OwnedFd stop_write_;  // closed in order to stop
  absl::Time pause_until_ = absl::InfinitePast();
  std::deque<Silent> silent_;  // the oldest first
  std::array<std::atomic<int64_t>, kConnectionRefusals> refused_{};

  std::mutex mutex_;
  OpenConnections open_;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_ACCEPT_LOOP_H_
