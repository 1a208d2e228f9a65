#include "core/exec/fair_queue.h"

#include <algorithm>

namespace lossd {

void FairQueue::Push(Task* task, Share* share, int64_t cost, bool urgent) {
  if (!share->waits()) {
    share->served_ = std::max(share->served_, floor_ - kCredit);
    shares_.PushBack(share);
  }
  Share::Lane& lane = urgent ? share->urgent_ : share->bulk_;
  if (lane.tasks.empty()) {
    lane.served = std::max(lane.served, share->lane_floor_ - kCredit);
  }
  task->share_ = share;
  task->cost_ = cost;
  task->urgent_ = urgent;
  lane.tasks.PushBack(task);
  if (urgent) ++urgent_;
}

Share::Lane& FairQueue::NextLane(Share& share) {
  if (share.urgent_.tasks.empty()) return share.bulk_;
  if (share.bulk_.tasks.empty()) return share.urgent_;
  return share.urgent_.served <= share.bulk_.served + kLead ? share.urgent_ : share.bulk_;
}

Share* FairQueue::Next() {
  Share* least = nullptr;
  Share* least_urgent = nullptr;
  for (Share& share : shares_) {
    if (least == nullptr || share.served_ < least->served_) least = &share;
    if (urgent_ == 0 || &NextLane(share) != &share.urgent_) continue;
    if (least_urgent == nullptr || share.served_ < least_urgent->served_) least_urgent = &share;
  }
  if (least == nullptr) return nullptr;
  floor_ = std::max(floor_, least->served_);
  const bool may_lead = least_urgent != nullptr && least_urgent->served_ <= least->served_ + kLead;
  return may_lead ? least_urgent : least;
}

Task* FairQueue::Pop() {
  Share* const share = Next();
  return share == nullptr ? nullptr : Take(*share, NextLane(*share));
}

Task* FairQueue::PopUrgent() {
  if (urgent_ == 0) return nullptr;
  Share& share = *Next();
  Share::Lane& lane = NextLane(share);
  return &lane == &share.urgent_ ? Take(share, lane) : nullptr;
}

Task* FairQueue::Take(Share& share, Share::Lane& lane) {
  const Share::Lane& other = &lane == &share.urgent_ ? share.bulk_ : share.urgent_;
  const int64_t least = other.tasks.empty() ? lane.served : std::min(lane.served, other.served);
  share.lane_floor_ = std::max(share.lane_floor_, least);
  Task* const task = lane.tasks.PopFront();
  if (task->urgent_) --urgent_;
  share.served_ += task->cost_;
  lane.served += task->cost_;
  if (!share.waits()) shares_.Remove(&share);
  return task;
}

}  // namespace lossd
