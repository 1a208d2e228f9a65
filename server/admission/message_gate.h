#ifndef LOSSD_SERVER_ADMISSION_MESSAGE_GATE_H_
#define LOSSD_SERVER_ADMISSION_MESSAGE_GATE_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "core/types/intrusive_list.h"
#include "server/admission/byte_budget.h"
#include "server/admission/counters.h"

namespace lossd {

// A number of places, and calls that need one to be read: gRPC reports a message when all of it is
// there, so a call that is read may at any time make the server hold as much as a message can be. A
// call without a place is not read, and HTTP/2 holds its bytes back at the client.
//
// A place that comes free goes to the peer that holds the fewest, among equals to the one whose
// last turn is the longest ago, and of that peer to the call that has waited longest. So one peer
// may have all places while no other wants one; a peer that comes later gets the next that is
// free. A call that does not use its place may be asked to give it back (Wanted). Thread-safe.
class MessageGate {
  struct Peer;

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

    explicit operator bool() const { return gate_ != nullptr; }

    // Another peer waits that holds fewer by two or more, so that the peers would be more equal if
    // this place were given back.
    bool Wanted() const { return gate_ != nullptr && gate_->Wanted(*peer_); }
    // Any call waits, whosever it is.
    bool Awaited() const { return gate_ != nullptr && gate_->Awaited(); }

    // Frees the place at once, but passes it on at the gate's next Tick: for callers with locks.
    void GiveBack();

   private:
    friend class MessageGate;
    Place(MessageGate* gate, Peer* peer) : gate_(gate), peer_(peer) {}

    MessageGate* gate_ = nullptr;
    Peer* peer_ = nullptr;
  };

  // A call that waits for a place. Stays where it is until it has one or has withdrawn.
  class Waiter : public ListNode<Waiter> {
   protected:
    Waiter() = default;
    ~Waiter() = default;

    // Once, on whatever thread a place came free; no lock of the gate's is held.
    virtual void OnPlace(Place place) = 0;

   private:
    friend class MessageGate;
    Peer* peer_ = nullptr;  // while it waits, in the list of its peer
    Peer* served_ =
        nullptr;  // whose place it is to be told of, then in the list of those to be told
  };

  // places >= 1. Calls that wait are counted in AdmissionCounters::held_back.
  MessageGate(int64_t places, AdmissionCounters* counters)
      : places_(places), free_(places), counters_(counters) {}
  MessageGate(const MessageGate&) = delete;
  MessageGate& operator=(const MessageGate&) = delete;

  int64_t places() const { return places_; }

  // A place at once, or nullopt: `waiter` will be told. May be called with a lock held that OnPlace
  // takes. The only function here that allocates, before it changes anything.
  std::optional<Place> Enter(PeerKey key, Waiter* waiter);

  // True: it waited, and will not be told.
  bool Withdraw(Waiter* waiter);

  // More calls wait than there are places free.
  bool Awaited() const;

  // Passes on the places that were given back. To be called every few milliseconds while calls
  // live.
  void Tick();

 private:
  // One that has or wants places.
  struct Peer {
    PeerKey key = nullptr;
    int64_t held = 0;
    int64_t waiting = 0;
    IntrusiveList<Waiter> waiters;  // the one that has waited longest first
    uint64_t turn = 0;  // when it came or last got or left a place: a number that only grows
  };

  void Leave(Peer* peer);
  bool Wanted(const Peer& peer) const;

  // With mutex_ held.
  void Take(Peer& peer);
  void PutBack(Peer& peer);
  Peer* Poorest();
  void Append(Peer& peer, Waiter* waiter);
  void Unlink(Waiter* waiter);
  void Forget(Peer* peer);
  IntrusiveList<Waiter> Serve();  // those to be told

  void Tell(IntrusiveList<Waiter> waiters);

  const int64_t places_;
  mutable std::mutex mutex_;
  int64_t free_;
  int64_t waiting_ = 0;
  uint64_t turns_ = 0;
  std::map<PeerKey, Peer> peers_;
  AdmissionCounters* const counters_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_MESSAGE_GATE_H_
