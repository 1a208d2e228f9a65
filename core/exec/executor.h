#ifndef LOSSD_CORE_EXEC_EXECUTOR_H_
#define LOSSD_CORE_EXEC_EXECUTOR_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "core/exec/fair_queue.h"

namespace lossd {

// Asked between work units whether to go on. Cheap; called from any thread.
class StopToken {
 public:
  StopToken() = default;  // never stops
  explicit StopToken(const std::atomic<bool>* flag) : flag_(flag) {}
  bool stop_requested() const { return flag_ && flag_->load(std::memory_order_relaxed); }
  const std::atomic<bool>* flag() const { return flag_; }  // null: never stops

  // kCancelled once it is requested.
  absl::Status Check() const {
    if (!stop_requested()) return absl::OkStatus();
    return absl::CancelledError("the computation was stopped");
  }

 private:
  const std::atomic<bool>* flag_ = nullptr;
};

// The threads that compute. The only class that knows TBB. One per process, shared by all requests;
// thread-safe.
class Executor {
 public:
  // threads >= 1; 0: what this process may use, UsableThreads().
  explicit Executor(int threads = 0);
  // Waits for what was submitted.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  int threads() const;

  // Runs body(0) .. body(count - 1), in any order, on these threads and the caller's, and waits.
  // The waiting thread never takes up another request's work. kCancelled once `stop` says so (units
  // already begun finish); kUnavailable if a unit threw (out of memory). Urgent work that was
  // submitted may be done between two units.
  absl::Status ForEach(int64_t count, StopToken stop, absl::FunctionRef<void(int64_t)> body);

  // What is submitted, and for whom.
  struct Order {
    Share* share = nullptr;
    int64_t bytes = 0;    // of input, by which shares are measured
    bool urgent = false;  // little work, that is not to wait for units of large work to end
  };

  // Runs `task` on these threads when its share's turn has come (FairQueue), and returns at once.
  // Where the memory to wake a thread is not to be had: on this one, before it returns.
  void Submit(Task* task, const Order& order);

  // Every thread has submitted work: what is submitted now will wait, and what others run by
  // ForEach gets no help.
  bool busy() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_EXECUTOR_H_
