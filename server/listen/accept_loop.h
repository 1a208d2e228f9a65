#ifndef LOSSD_SERVER_LISTEN_ACCEPT_LOOP_H_
#define LOSSD_SERVER_LISTEN_ACCEPT_LOOP_H_

#include <grpcpp/server_builder.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/admission/connection_account.h"
#include "server/admission/trusted_proxies.h"
#include "server/listen/connection_refusal.h"
#include "server/listen/listen_socket.h"
#include "server/listen/open_connections.h"
#include "server/listen/peer_name.h"
#include "server/log/log.h"

namespace lossd {

// Takes the connections of a gRPC server, in a thread of its own; gRPC's own listener is deaf for
// good once accept() has failed for want of descriptors. (docs/adr/006)
//
// A connection goes to gRPC when its client has sent something; until then it is silent. Of silent
// ones there are few and none for long: what opens connections and says nothing, of whom there may
// be many, costs neither memory of gRPC nor a place among the connections. A trusted proxy may say
// first for whom it connects; that is taken off, and its client is the peer.
//
// Every connection has a name of its own, which gRPC gives to its calls, and an account. Where
// places run out, the address that has most of them gives way.
class AcceptLoop {
 public:
  struct Limits {
    int64_t connections;  // open at once, silent ones included
    int64_t silent;       // at once; the oldest gives way
    absl::Duration silent_timeout;
    // Those on which no call ever began, of whom some may shake hands; the oldest gives way.
    int64_t without_calls = std::numeric_limits<int64_t>::max();
    Log* log = nullptr;  // of connections that are refused; null: nothing is written
    TrustedProxies proxies = {};
  };
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  // `acceptor` belongs to a server that was started; `ledger` outlives this. kUnavailable if the
  // system has no descriptors.
  static absl::StatusOr<std::unique_ptr<AcceptLoop>> Start(std::vector<ListenSocket> sockets,
                                                           std::unique_ptr<Acceptor> acceptor,
                                                           const Limits& limits, Ledger* ledger);

  // Stops.
  ~AcceptLoop();
  AcceptLoop(const AcceptLoop&) = delete;
  AcceptLoop& operator=(const AcceptLoop&) = delete;

  // Closes the listening sockets, so that no client can connect any more, and silent connections.
  // Those of gRPC go on. To be done before gRPC's server is shut down.
  void Stop();

  int64_t connections();  // open now

  // Connections that were refused or ended so far, by reason. Thread-safe.
  std::array<int64_t, kConnectionRefusals> refused() const;

  // Ends the connection of this name, for calls beyond all quotas. Thread-safe.
  void Break(std::string_view name);

 private:
  struct Silent {
    OwnedFd fd;
    absl::Time until;
    PeerName peer = {};
    std::string address = {};                      // of `peer`
    bool proxy = false;                            // may say for whom it connects
    absl::Time look_again = absl::InfinitePast();  // for the rest of what it says
  };
  // What the first bytes of a connection are.
  enum class Opening : int8_t { kNothing, kPartOfHeader, kBad, kGood };

  AcceptLoop(std::vector<ListenSocket> sockets, std::unique_ptr<Acceptor> acceptor,
             const Limits& limits, Ledger* ledger)
      : sockets_(std::move(sockets)),
        acceptor_(std::move(acceptor)),
        limits_(limits),
        ledger_(ledger),
        open_(ledger) {}
  void Run();
  bool Turn();  // false: stopped
  void Want(absl::Time now);
  int TimeoutMs(absl::Time now) const;
  void AcceptAll(int listener, absl::Time now);
  bool Accept(int listener, absl::Time now);
  void Warn(std::string_view reason) const;
  void Count(ConnectionRefusal why) { ++refused_[static_cast<size_t>(why)]; }

  // With mutex_ held.
  void Admit(OwnedFd fd, absl::Time now);
  bool MakeRoomFor(std::string_view address, absl::Time now);
  void DropOneSilent();
  Opening TakeOpening(Silent& silent) const;
  void HandOver(Silent& silent);
  void HandOverIfMemoryAllows(Silent& silent);
  void LookAtSilent(absl::Time now);
  void LookAtAccounts(absl::Time now);

  std::vector<ListenSocket> sockets_;
  const std::unique_ptr<Acceptor> acceptor_;
  const Limits limits_;
  Ledger* const ledger_;
  OwnedFd stop_read_;
  OwnedFd stop_write_;  // closed in order to stop
  absl::Time pause_until_ = absl::InfinitePast();
  std::deque<Silent> silent_;  // the oldest first
  int64_t accepted_ = 0;       // so far
  absl::Time accounts_due_ = absl::InfinitePast();
  int64_t broken_ = 0;           // by the ledger, and counted
  int64_t refused_headers_ = 0;  // of this process, and counted
  std::array<std::atomic<int64_t>, kConnectionRefusals> refused_{};

  std::vector<pollfd> polled_;  // its memory is kept, so that a turn allocates nothing

  std::mutex mutex_;
  OpenConnections open_;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_ACCEPT_LOOP_H_
