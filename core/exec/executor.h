#ifndef LOSSD_CORE_EXEC_EXECUTOR_H_
#define LOSSD_CORE_EXEC_EXECUTOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace lossd {

// Asked between work units whether to go on. Cheap; called from any thread.
class StopToken {
 public:
  StopToken() = default;  // never stops
  explicit StopToken(const std::atomic<bool>* flag) : flag_(flag) {}
  bool stop_requested() const { return flag_ && flag_->load(std::memory_order_relaxed); }

 private:
  const std::atomic<bool>* flag_ = nullptr;
};

// The threads that compute. The only class that knows TBB. One per process, shared by all requests;
// thread-safe.
class Executor {
 public:
  // threads >= 1; 0: what this process may use, UsableThreads().
  explicit Executor(int threads = 0);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  int threads() const;

  // Runs body(0) .. body(count - 1), in any order, on these threads and the caller's, and waits.
  // The waiting thread never takes up another request's work. kCancelled once `stop` says so (units
  // already begun finish); kUnavailable if a unit threw (out of memory).
  absl::Status ForEach(int64_t count, StopToken stop, absl::FunctionRef<void(int64_t)> body);

  // Runs `work` on these threads some time and returns at once. `work` must not throw.
  void Submit(std::function<void()> work);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// min(CPU affinity, CPU quota of the cgroup rounded up), at least 1.
int UsableThreads();

// `threads`, or fewer where a cgroup's CPU quota says so. `root` stands in front of /proc and /sys,
// for tests.
int QuotaThreads(int threads, const std::string& root = "");

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_EXECUTOR_H_
