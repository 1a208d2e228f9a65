#include "server/admission/message_gate.h"

#include <algorithm>
#include <tuple>

namespace lossd {

std::optional<MessageGate::Place> MessageGate::Enter(PeerKey key, Waiter* waiter) {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = peers_.try_emplace(key);
  Peer& peer = found->second;
  if (is_new) {
    peer.key = key;
    peer.turn = ++turns_;
  }
  if (free_ > 0 && waiting_ == 0) {
    Take(peer);
    return Place(this, &peer);
  }
  Append(peer, waiter);
  return std::nullopt;
}

bool MessageGate::Withdraw(Waiter* waiter) {
  const std::lock_guard lock(mutex_);
  Peer* const peer = waiter->peer_;
  if (peer == nullptr) return false;
  Unlink(waiter);
  Forget(peer);
  return true;
}

void MessageGate::Leave(Peer* peer) {
  Tell([&] {
    const std::lock_guard lock(mutex_);
    PutBack(*peer);
    return Serve();
  }());
}

void MessageGate::Place::GiveBack() {
  if (gate_ == nullptr) return;
  const std::lock_guard lock(gate_->mutex_);
  gate_->PutBack(*peer_);
  gate_ = nullptr;
}

void MessageGate::Tick() {
  Tell([&] {
    const std::lock_guard lock(mutex_);
    return Serve();
  }());
}

bool MessageGate::Awaited() const {
  const std::lock_guard lock(mutex_);
  return waiting_ > free_;
}

bool MessageGate::Wanted(const Peer& peer) const {
  const std::lock_guard lock(mutex_);
  int64_t wanting = 0;
  for (const auto& [key, other] : peers_) {
    wanting += std::clamp<int64_t>(peer.held - 1 - other.held, 0, other.waiting);
  }
  return wanting > free_;
}

// A waiter that is told may be gone before the next one is.
void MessageGate::Tell(IntrusiveList<Waiter> waiters) {
  while (Waiter* const waiter = waiters.PopFront()) {
    waiter->OnPlace(Place(this, std::exchange(waiter->served_, nullptr)));
  }
}

// --------------------------------------------------------------------------- with mutex_ held

void MessageGate::Take(Peer& peer) {
  ++peer.held;
  --free_;
  peer.turn = ++turns_;
}

void MessageGate::PutBack(Peer& peer) {
  --peer.held;
  ++free_;
  peer.turn = ++turns_;
  Forget(&peer);
}

MessageGate::Peer* MessageGate::Poorest() {
  Peer* poorest = nullptr;
  for (auto& [key, peer] : peers_) {
    if (peer.waiting == 0) continue;
    if (poorest == nullptr ||
        std::tie(peer.held, peer.turn) < std::tie(poorest->held, poorest->turn)) {
      poorest = &peer;
    }
  }
  return poorest;
}

IntrusiveList<MessageGate::Waiter> MessageGate::Serve() {
  IntrusiveList<Waiter> told;
  while (free_ > 0 && waiting_ > 0) {
    Peer* const peer = Poorest();
    Waiter* const waiter = peer->waiters.front();
    Unlink(waiter);
    Take(*peer);
    waiter->served_ = peer;
    told.PushBack(waiter);
  }
  return told;
}

void MessageGate::Append(Peer& peer, Waiter* waiter) {
  waiter->peer_ = &peer;
  peer.waiters.PushBack(waiter);
  ++peer.waiting;
  ++waiting_;
  ++counters_->held_back;
}

void MessageGate::Unlink(Waiter* waiter) {
  Peer& peer = *waiter->peer_;
  peer.waiters.Remove(waiter);
  waiter->peer_ = nullptr;
  --peer.waiting;
  --waiting_;
  --counters_->held_back;
}

void MessageGate::Forget(Peer* peer) {
  if (peer->held == 0 && peer->waiting == 0) peers_.erase(peer->key);
}

}  // namespace lossd
