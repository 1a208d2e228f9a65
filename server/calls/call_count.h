#ifndef LOSSD_SERVER_CALLS_CALL_COUNT_H_
#define LOSSD_SERVER_CALLS_CALL_COUNT_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace lossd {

// Counts the objects that wait for a call, and the calls that have begun. Thread-safe.
class CallCount {
 public:
  void Waiting() { Change(+1, 0); }
  void Began() { Change(-1, +1); }
  void NeverBegan() { Change(-1, 0); }  // the server is shutting down
  void Ended() { Change(0, -1); }

  // Calls that have begun so far.
  int64_t begun() const {
    const std::lock_guard lock(mutex_);
    return begun_;
  }

  int64_t live() const {
    const std::lock_guard lock(mutex_);
    return live_;
  }

  // Once the server is shutting down: until all calls have ended and no other can begin.
  void WaitForNone() {
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return waiting_ == 0 && live_ == 0; });
  }

 private:
  void Change(int waiting, int live) {
    const std::lock_guard lock(mutex_);
    waiting_ += waiting;
    live_ += live;
    if (live > 0) ++begun_;
    if (waiting_ == 0 && live_ == 0) none_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable none_;
  int64_t waiting_ = 0;
  int64_t live_ = 0;
  int64_t begun_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_CALL_COUNT_H_
