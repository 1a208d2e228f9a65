#ifndef LOSSD_SERVER_ADMISSION_CALL_CAPS_H_
#define LOSSD_SERVER_ADMISSION_CALL_CAPS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "core/exec/fair_queue.h"
#include "server/admission/counters.h"
#include "server/admission/instant.h"
#include "server/admission/offenders.h"

namespace lossd {

// HTTP/2's own limit on streams binds only clients that acknowledge it, so calls are counted here.
struct CallLimits {
  int64_t calls = 1024;  // at once, of all peers
  int64_t calls_per_peer = 512;
  int64_t calls_per_connection = 128;
  // Of one peer, over time; as many may come at once. A call that the client breaks off counts as
  // kBrokenOffStarts: what costs most and serves nobody is beginning calls to break them off.
  double starts_per_second = 50'000;
};
inline constexpr double kBrokenOffStarts = 100;

// Calls at once and calls begun, by peer and connection, as grpc::ServerContext::peer() names them.
// A peer is an address without its port; all that come over Unix sockets are one peer and no
// connection in particular. Thread-safe; outlives its passes.
class CallCaps {
  struct Peer;
  using Connections = std::map<std::string, int64_t, std::less<>>;

 public:
  // One call that counts; it is over when this is destroyed. Move-only.
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

    // Tells peers apart while one of their calls counts.
    const void* peer() const { return peer_; }

    // The peer's, of the computing threads; while this counts.
    Share* share() const;

    // The client broke the call off.
    void BrokenOff();

   private:
    friend class CallCaps;
    void Swap(Pass& other) noexcept;

    CallCaps* caps_ = nullptr;
    Peer* peer_ = nullptr;
    Connections::iterator connection_;
  };

  CallCaps(const CallLimits& limits, AdmissionCounters* counters)
      : limits_(limits), counters_(counters) {}

  // `tell` gets the names of connections that should be broken (see Offenders), on whatever thread
  // Begin is called. Before the first call.
  void TellOffenders(std::function<void(std::string_view name)> tell) { tell_ = std::move(tell); }

  // kPeerQuota, kTooManyCalls or kDraining where the call may not begin.
  absl::StatusOr<Pass> Begin(std::string_view name, Instant now);

  // From now on no call begins.
  void Drain();

 private:
  struct Peer {
    int64_t calls = 0;
    Connections connections;
    double starts = 0;  // that may come at once
    Instant refilled;
    Share share;
  };

  absl::StatusOr<Pass> Enter(std::string_view name, Instant now);
  absl::Status CheckPeer(Peer& peer, std::string_view name, bool connected, Instant now) const;
  Peer& PeerOf(std::string_view address, Instant now);
  void End(Peer& peer, Connections::iterator connection);

  const CallLimits limits_;
  AdmissionCounters* const counters_;
  std::mutex mutex_;
  std::map<std::string, Peer, std::less<>> peers_;  // some of them without a call
  int64_t calls_ = 0;
  bool draining_ = false;
  Offenders offenders_;
  std::function<void(std::string_view name)> tell_;  // empty: nobody is told
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_CALL_CAPS_H_
