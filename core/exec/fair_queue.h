#ifndef LOSSD_CORE_EXEC_FAIR_QUEUE_H_
#define LOSSD_CORE_EXEC_FAIR_QUEUE_H_

#include <cstdint>

#include "core/types/intrusive_list.h"

namespace lossd {

class Task;

// A share of the computing threads: in a server, that of one peer. Outlives its tasks.
class Share : public ListNode<Share> {
 public:
  Share() = default;
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

 private:
  friend class FairQueue;

  // Tasks in the order of their arrival.
  struct Lane {
    IntrusiveList<Task> tasks;
    int64_t served = 0;
  };

  bool waits() const { return !urgent_.tasks.empty() || !bulk_.tasks.empty(); }

  Lane urgent_;
  Lane bulk_;
  int64_t lane_floor_ = 0;  // as FairQueue::floor_, of the two lanes
  int64_t served_ = 0;
};

// Work that waits in a FairQueue, in one place of one queue at a time. Stays where it is until Run.
class Task : public ListNode<Task> {
 public:
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Must not throw; may destroy this, or submit it again.
  virtual void Run() = 0;

 protected:
  Task() = default;
  ~Task() = default;

 private:
  friend class FairQueue;
  Share* share_ = nullptr;
  int64_t cost_ = 0;
  bool urgent_ = false;
};

// Hands out tasks so that shares with equal demand are served equal cost, whatever the number and
// size of their tasks (start-time fair queueing: next is the share that was served least). Urgent
// tasks go first as long as that puts their share at most kLead ahead of the others, and their lane
// at most kLead ahead of the share's other tasks; so neither starves the others. A share that was
// idle keeps at most kCredit, enough not to lose its turn when it has no task for a moment.
// Allocates nothing; not thread-safe.
class FairQueue {
 public:
  // In bytes of input, a few milliseconds' work of one thread. Urgent tasks of others do not
  // overtake a share that comes back with all the credit.
  static constexpr int64_t kLead = int64_t{8} << 20;
  static constexpr int64_t kCredit = int64_t{16} << 20;

  FairQueue() = default;
  FairQueue(const FairQueue&) = delete;
  FairQueue& operator=(const FairQueue&) = delete;

  // `cost` >= 0.
  void Push(Task* task, Share* share, int64_t cost, bool urgent);

  // nullptr: nothing waits.
  Task* Pop();

  // The same, but nullptr unless the next one is urgent.
  Task* PopUrgent();

  bool empty() const { return shares_.empty(); }
  int64_t urgent() const { return urgent_; }  // tasks that wait

 private:
  static Share::Lane& NextLane(Share& share);

  Share* Next();
  Task* Take(Share& share, Share::Lane& lane);

  IntrusiveList<Share> shares_;  // with tasks, the one that has waited longest first
  int64_t floor_ = 0;  // what those that waited had been served at least, when one last was
  int64_t urgent_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_FAIR_QUEUE_H_
