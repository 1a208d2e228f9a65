#ifndef LOSSD_SERVER_ADMISSION_WATCH_H_
#define LOSSD_SERVER_ADMISSION_WATCH_H_

#include <atomic>
#include <chrono>
#include <mutex>

#include "core/types/intrusive_list.h"
#include "server/admission/instant.h"

namespace lossd {

// How often calls are looked at: a small part of the shortest wait there is, a vanishing part of a
// core's time.
inline constexpr Interval kWatchPeriod = std::chrono::milliseconds(20);

// Something that becomes due. To be put on a Watch while it lives.
class Watched : public ListNode<Watched> {
 public:
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  // When OnDue is wanted; Instant::max(): never. From any thread, as often as one likes.
  void SetDue(Instant due) {
    due_.store(due.time_since_epoch().count(), std::memory_order_relaxed);
  }

  // The same, unless another time than `from` has been set meanwhile.
  void MoveDue(Instant from, Instant to) {
    Instant::rep expected = from.time_since_epoch().count();
    due_.compare_exchange_strong(expected, to.time_since_epoch().count(),
                                 std::memory_order_relaxed);
  }

 protected:
  Watched() = default;
  ~Watched() = default;

  // Called at each tick from the due time on, with the watch locked: must not add or remove.
  virtual void OnDue(Instant now) = 0;

  // Others wait for what this may hold without using it. Called like OnDue, on the same thread.
  virtual void OnWanted(Instant now) {}

 private:
  friend class Watch;
  std::atomic<Instant::rep> due_{Instant::max().time_since_epoch().count()};
};

// All that may become due. Looking at it costs a load each, setting a time a store; neither
// allocates. Thread-safe.
class Watch {
 public:
  // True: nothing ticks, and the caller is to see to it that something does.
  bool Add(Watched* watched);
  void Remove(Watched* watched);

  // False: nothing is watched any more, and ticks are not needed until Add says so.
  bool Tick(Instant now);

  // Calls OnWanted of all.
  void AskBack(Instant now);

 private:
  std::mutex mutex_;
  IntrusiveList<Watched> all_;
  bool ticking_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_WATCH_H_
