#include "server/admission/message_gate.h"

#include <algorithm>

namespace lossd {

std::optional<MessageGate::Place> MessageGate::Enter(PeerKey peer, Waiter* waiter) {
  const std::lock_guard lock(mutex_);
  Share& share = shares_[peer];
  if (MayEnter(share)) {
    ++share.held;
    --free_;
    return Place(this, peer);
  }
  ++share.waiting;
  waiter->peer_ = peer;
  Append(waiter);
  return std::nullopt;
}

bool MessageGate::Withdraw(Waiter* waiter) {
  Waiter* told = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (waiter->previous_ == nullptr && waiter != first_) return false;
    Unlink(waiter);
    --shares_.find(waiter->peer_)->second.waiting;
    Forget(waiter->peer_);
    told = Serve();  // it may have been the one for whose sake its peer's rivals held back
  }
  Tell(told);
  return true;
}

void MessageGate::Leave(PeerKey peer) {
  Waiter* told = nullptr;
  {
    const std::lock_guard lock(mutex_);
    --shares_.find(peer)->second.held;
    ++free_;
    Forget(peer);
    told = Serve();
  }
  Tell(told);
}

// Who is told may be gone before the next is.
void MessageGate::Tell(Waiter* waiter) {
  while (waiter != nullptr) {
    Waiter* const next = waiter->next_;
    waiter->next_ = nullptr;
    waiter->OnPlace(Place(this, waiter->peer_));
    waiter = next;
  }
}

bool MessageGate::MayEnter(const Share& share) const {
  const bool others_wait = waiting_ > share.waiting;
  return free_ > 0 && (!others_wait || share.held < (places_ + 1) / 2);
}

MessageGate::Waiter* MessageGate::Serve() {
  Waiter* first = nullptr;
  Waiter** last = &first;
  for (Waiter* waiter = first_; waiter != nullptr && free_ > 0;) {
    Waiter* const next = waiter->next_;
    Share& share = shares_.find(waiter->peer_)->second;
    if (MayEnter(share)) {
      Unlink(waiter);
      --share.waiting;
      ++share.held;
      --free_;
      *last = waiter;
      last = &waiter->next_;
    }
    waiter = next;
  }
  return first;
}

void MessageGate::Append(Waiter* waiter) {
  waiter->previous_ = last_;
  waiter->next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = waiter;
  last_ = waiter;
  counters_->held_back = ++waiting_;
}

void MessageGate::Unlink(Waiter* waiter) {
  (waiter->previous_ != nullptr ? waiter->previous_->next_ : first_) = waiter->next_;
  (waiter->next_ != nullptr ? waiter->next_->previous_ : last_) = waiter->previous_;
  waiter->previous_ = nullptr;
  waiter->next_ = nullptr;
  counters_->held_back = --waiting_;
}

void MessageGate::Forget(PeerKey peer) {
  const auto share = shares_.find(peer);
  if (share->second.held == 0 && share->second.waiting == 0) shares_.erase(share);
}

}  // namespace lossd
