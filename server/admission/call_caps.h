#ifndef LOSSD_SERVER_ADMISSION_CALL_CAPS_H_
#define LOSSD_SERVER_ADMISSION_CALL_CAPS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/exec/fair_queue.h"
#include "server/admission/connection_account.h"
#include "server/admission/counters.h"
#include "server/admission/instant.h"
#include "server/admission/start_rate.h"
#include "server/admission/trusted_proxies.h"

namespace lossd {

// HTTP/2's own limit on streams binds only clients that acknowledge it, so calls are counted here.
struct CallLimits {
  int64_t calls = 1024;  // at once, of all peers
  int64_t calls_per_peer = 512;
  int64_t calls_per_connection = 128;
  // Of one peer, over time; a second's worth may come at once. A call that the client breaks off,
  // or that brings no valid token, counts as kCostlyStarts: beginning calls for nothing costs a
  // server most.
  double starts_per_second = 50'000;
};
inline constexpr double kCostlyStarts = 100;

// Calls at once and calls begun, by connection and by peer. A connection has the name that
// grpc::ServerContext::peer() gives. Its peer is its address (see PeerAddressOf) until it is known
// who calls; then it is the caller, wherever they call from. Thread-safe; outlives its passes.
//
// - Of the calls at once a peer has at most calls_per_peer, and no more than are left for all
//   others, so that peers who come later find room.
// - A peer that begins calls too fast is refused, but not a connection that is within its own part
//   of the peer's rate: calls given up by one process do not refuse its neighbours.
// - A connection that goes on and on beyond its quotas is to be broken.
class CallCaps {
  struct Peer;
  struct Connection;

 public:
  // Calls over a quota that may come over one connection within a period: more than a client that
  // was turned away has reason to send, less than weighs anything.
  static constexpr int64_t kMostRefused = 1000;
  static constexpr Interval kPeriod = std::chrono::seconds(1);

  // One call that counts; it is over when this is destroyed. Move-only. Used by one thread at a
  // time.
  class Pass {
   public:
    Pass() = default;
    Pass(Pass&& other) noexcept { Swap(other); }
    Pass& operator=(Pass&& other) noexcept {
      Pass old(std::move(*this));
      Swap(other);
      return *this;
    }
    ~Pass();

    // The caller is known, by the name of a certificate or a token; empty: it has no name, and the
    // address stays the peer. Once, before peer() and share() are used. kPeerQuota where
    // this peer may not have one more call.
    absl::Status Identify(std::string_view identity, Instant now);

    // The call brought no valid token.
    void Unauthenticated();

    // The client broke the call off.
    void BrokenOff();

    // Tells peers apart while one of their calls counts.
    const void* peer() const { return peer_; }

    // The peer's, of the computing threads; while this counts.
    Share* share() const;

    // This call reads a message of at most `bytes`; the message has come, with `bytes`.
    void Expect(int64_t bytes);
    void Arrived(int64_t bytes);

    // ConnectionAccount::silent, overrun and Forgive, of the connection; false where it has no
    // account.
    bool Silent() const;
    bool Overrun() const;
    void Forgive();

   private:
    friend class CallCaps;
    void Swap(Pass& other) noexcept;
    void SetExpected(int64_t bytes);

    CallCaps* caps_ = nullptr;
    Peer* peer_ = nullptr;
    Connection* connection_ = nullptr;
    std::shared_ptr<ConnectionAccount> account_;  // null: bytes are not counted
    int64_t expected_ = 0;
  };

  // `ledger`, if there is one, outlives this.
  CallCaps(const CallLimits& limits, AdmissionCounters* counters, Ledger* ledger = nullptr)
      : limits_(limits), counters_(counters), ledger_(ledger) {}

  // `tell` gets the names of connections that should be broken, on whatever thread Begin is called.
  // Before the first call.
  void TellOffenders(std::function<void(std::string_view name)> tell) { tell_ = std::move(tell); }

  // The proxies that may name the addresses of clients; by default none. Before the first call.
  void Trust(const TrustedProxies& proxies) { proxies_ = proxies; }

  // To be asked before anything else is done for a call, also before it is known who calls.
  // `forwarded_for`: its x-forwarded-for, which names the peer's address where the connection comes
  // from a trusted proxy; the connection is not broken for it then. kPeerQuota, kTooManyCalls or
  // kDraining where the call may not begin.
  absl::StatusOr<Pass> Begin(std::string_view connection, Instant now,
                             std::string_view forwarded_for = {});

  // Connections that are remembered, and so are their peers.
  size_t remembered();

  // From now on no call begins.
  void Drain();

 private:
  // Those without a call and without a connection that is remembered are forgotten.
  struct Peer {
    Peer(double left, Instant now) : starts(left, now) {}
    int64_t calls = 0;
    int64_t connections = 0;  // that last called as this peer
    StartRate starts;
    Share share;
  };
  struct Connection {
    Connection(double left, Instant now) : starts(left, now), period(now) {}
    std::string name;
    bool forwarded = false;  // the calls of one address, through a trusted proxy
    Peer* address = nullptr;
    Peer* peer = nullptr;  // that it last called as: its address, or a caller who was known
    int64_t calls = 0;
    StartRate starts;     // of its own part of the peer's rate
    int64_t refused = 0;  // within the period
    Instant period;
    std::shared_ptr<ConnectionAccount> account;  // null: bytes are not counted
  };

  absl::StatusOr<Pass> Enter(std::string_view name, std::string_view forwarded, Instant now,
                             bool& offends);

  // With mutex_ held.
  absl::Status MayBegin(Peer& peer, Connection& connection, Instant now);
  absl::Status CallAs(Peer& peer, Pass& pass, Instant now);
  absl::Status HasRoom(int64_t peers, int64_t calls) const;  // beside so many, of the peer, of all
  absl::Status HasStarts(Peer& peer, Connection& connection, Instant now) const;
  double PartOf(const Connection& connection) const;
  void Charge(Peer& peer, Connection& connection, double starts);
  void Switch(Connection& connection, Peer* peer);
  Peer& PeerOf(std::string_view key, Instant now);
  Connection& ConnectionOf(std::string_view name, std::string_view forwarded, Instant now);
  void ForgetSome();
  bool Offends(Connection& connection, const absl::Status& refused, Instant now);

  const CallLimits limits_;
  AdmissionCounters* const counters_;
  Ledger* const ledger_;
  TrustedProxies proxies_;
  std::mutex mutex_;
  std::map<std::string, Peer, std::less<>> peers_;
  std::map<std::string, Connection, std::less<>> connections_;
  std::string looked_at_;  // the connection that ForgetSome looked at last
  size_t crowd_ = 0;       // at this number of peers some are forgotten
  int64_t calls_ = 0;
  bool draining_ = false;
  std::function<void(std::string_view name)> tell_;  // may be empty
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_CALL_CAPS_H_
