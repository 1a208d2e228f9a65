#ifndef LOSSD_SERVER_CALLS_ENVIRONMENT_H_
#define LOSSD_SERVER_CALLS_ENVIRONMENT_H_

#include <grpcpp/completion_queue.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "core/exec/executor.h"
#include "lossd/server_info.h"
#include "protos/wire/limits.h"
#include "server/admission/byte_budget.h"
#include "server/admission/call_caps.h"
#include "server/admission/call_times.h"
#include "server/admission/counters.h"
#include "server/admission/message_gate.h"
#include "server/calls/raw_service.h"
#include "server/calls/ticker.h"
#include "server/front/authenticator.h"
#include "server/log/log.h"
#include "server/memory/buffer_pool.h"
#include "server/metrics/call_metrics.h"
#include "server/metrics/labels.h"

namespace lossd {

// Messages up to this size are handled on the thread that received them: they take less time than
// waking another thread would. So are larger ones of unary calls, behind which nothing is on its
// way that this thread is to receive, unless the threads that compute are wanted by all: then they
// take their turn there.
inline constexpr int64_t kInlineBytes = 64 << 10;
inline constexpr int64_t kInlineUnaryBytes = 2 << 20;

// Counts the objects that wait for a call, and the calls that have begun.
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

// How often each method could not be waited for, for want of memory (server/calls/accept.h).
using PutOff = std::array<std::atomic<int>, kMethodNames.size()>;

// What calls need from their server. All of it outlives every call.
struct Environment {
  RawLossService* service = nullptr;
  grpc::ServerCompletionQueue* queue = nullptr;
  Executor* executor = nullptr;
  BufferPool* pool = nullptr;
  CallCount* calls = nullptr;
  PutOff* put_off = nullptr;
  const Authenticator* authenticator = nullptr;
  AdmissionCounters* counters = nullptr;
  CallCaps* caps = nullptr;
  ByteBudget* budget = nullptr;
  MessageGate* gate = nullptr;
  Ticker* ticker = nullptr;
  Log* log = nullptr;  // null: nothing is written
  CallMetrics* metrics = nullptr;
  wire::Limits limits;
  TimeLimits times;
  ServerInfo info;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_ENVIRONMENT_H_
