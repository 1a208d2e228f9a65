#ifndef LOSSD_CLIENT_CALL_DRIVER_H_
#define LOSSD_CLIENT_CALL_DRIVER_H_

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/transport/transport.h"

namespace lossd {

// The event loop of one thread: the events of a queue, timers, and conditions that calls wait for.
// All methods are called by that thread.
class Driver {
 public:
  explicit Driver(Transport& transport) : transport_(transport), queue_(transport.NewQueue()) {}

  Transport& transport() { return transport_; }
  EventQueue& queue() { return *queue_; }

  // Runs `task` once at `time`.
  using Timers = std::multimap<absl::Time, std::function<void()>>;
  using Timer = Timers::iterator;
  Timer At(absl::Time time, std::function<void()> task);

  // Precondition: the timer's task has not begun.
  void Cancel(Timer timer) {
    spare_.push_back(timers_.extract(timer));
    spare_.back().mapped() = nullptr;
  }

  // Runs `task` once `condition` holds: at once, or else soon after it comes true.
  void When(std::function<bool()> condition, std::function<void()> task);

  // Runs what is due, or else waits for an event, the next timer, or Wake of the queue.
  void RunOnce();

 private:
  struct Wait {
    std::function<bool()> condition;
    std::function<void()> task;
  };

  bool RunDue();
  bool RunFulfilled();

  Transport& transport_;
  std::unique_ptr<EventQueue> queue_;
  Timers timers_;
  std::vector<Timers::node_type> spare_;  // timers that were cancelled, to be used again
  std::vector<Wait> waits_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_DRIVER_H_
