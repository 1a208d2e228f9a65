#ifndef LOSSD_SERVER_ADMISSION_MESSAGE_GATE_H_
#define LOSSD_SERVER_ADMISSION_MESSAGE_GATE_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "server/admission/byte_budget.h"
#include "server/admission/counters.h"

namespace lossd {

// How many messages may be on their way at once of which nobody has said how large they are: gRPC
// tells when a message is all there, and until then it may become as large as any. Who has no place
// is not read, and HTTP/2 holds the rest back at the client. Places are given in the order of
// asking; while others wait, no peer gets more than half of them, rounded up. Thread-safe.
class MessageGate {
 public:
  // A place at the gate, which is free again when this is destroyed. Move-only.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), peer_(other.peer_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(gate_, other.gate_);
      std::swap(peer_, other.peer_);
      return *this;
    }
    ~Place() {
      if (gate_ != nullptr) gate_->Leave(peer_);
    }

   private:
    friend class MessageGate;
    Place(MessageGate* gate, PeerKey peer) : gate_(gate), peer_(peer) {}

    MessageGate* gate_ = nullptr;
    PeerKey peer_ = nullptr;
  };

  // Who waits for a place. Stays where it is until it has one or has withdrawn.
  class Waiter {
   protected:
    Waiter() = default;
    ~Waiter() = default;

    // Once, on whatever thread a place came free; no lock of the gate's is held.
    virtual void OnPlace(Place place) = 0;

   private:
    friend class MessageGate;
    PeerKey peer_ = nullptr;
    Waiter* previous_ = nullptr;  // of those that wait
    Waiter* next_ = nullptr;      // likewise; then of those to be told
  };

  // places >= 1.
  MessageGate(int64_t places, AdmissionCounters* counters)
      : places_(places), free_(places), counters_(counters) {}
  MessageGate(const MessageGate&) = delete;
  MessageGate& operator=(const MessageGate&) = delete;

  int64_t places() const { return places_; }

  // A place at once, or nullopt: `waiter` will be told. `peer` lives until the call has left. The
  // only function here that allocates, before it changes anything.
  std::optional<Place> Enter(PeerKey peer, Waiter* waiter);

  // True: it waited, and will not be told.
  bool Withdraw(Waiter* waiter);

 private:
  // Of one peer, as long as it has or wants places.
  struct Share {
    int64_t held = 0;
    int64_t waiting = 0;
  };

  void Leave(PeerKey peer);
  void Tell(Waiter* waiter);

  // With mutex_ held.
  bool MayEnter(const Share& share) const;
  void Append(Waiter* waiter);
  void Unlink(Waiter* waiter);
  void Forget(PeerKey peer);
  Waiter* Serve();  // those to be told

  const int64_t places_;
  std::mutex mutex_;
  int64_t free_;
  int64_t waiting_ = 0;
  Waiter* first_ = nullptr;  // the one that has waited longest
  Waiter* last_ = nullptr;
  std::map<PeerKey, Share> shares_;
  AdmissionCounters* const counters_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_MESSAGE_GATE_H_
