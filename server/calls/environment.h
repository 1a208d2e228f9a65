#ifndef LOSSD_SERVER_CALLS_ENVIRONMENT_H_
#define LOSSD_SERVER_CALLS_ENVIRONMENT_H_

#include <grpcpp/completion_queue.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "core/exec/executor.h"
#include "lossd/server_info.h"
#include "protos/wire/limits.h"
#include "server/admission/arrivals.h"
#include "server/admission/byte_budget.h"
#include "server/admission/call_caps.h"
#include "server/admission/call_times.h"
#include "server/admission/counters.h"
#include "server/admission/message_gate.h"
#include "server/admission/method.h"
#include "server/calls/call_count.h"
#include "server/calls/raw_service.h"
#include "server/calls/ticker.h"
#include "server/log/audit_log.h"
#include "server/log/log.h"
#include "server/memory/buffer_pool.h"
#include "server/metrics/call_metrics.h"
#include "server/security/authenticator.h"
#include "server/shared_memory/region_table.h"

namespace lossd {

// Messages of at most kInlineBytes are handled on the thread that received them: they take less
// time than waking another thread would. So are unary messages of at most kInlineUnaryBytes, behind
// which no other message follows, unless the executor is busy and they have to take their turn
// there, or their rows are short and many, of which a byte takes a hundred times as long
// (UnaryMethod::is_quick).
inline constexpr int64_t kInlineBytes = 64 << 10;
inline constexpr int64_t kInlineUnaryBytes = 2 << 20;

// How many calls of each method are not waited for, because memory ran out (server/calls/accept.h).
using PutOff = std::array<std::atomic<int>, kLossMethods>;

// What calls need from their server. All of it outlives every call.
struct Environment {
  RawLossService* service = nullptr;
  grpc::ServerCompletionQueue* queue = nullptr;
  Executor* executor = nullptr;
  BufferPool* pool = nullptr;
  const RegionTable* regions = nullptr;
  CallCount* calls = nullptr;
  PutOff* put_off = nullptr;
  const Authenticator* authenticator = nullptr;
  AdmissionCounters* counters = nullptr;
  CallCaps* caps = nullptr;
  ByteBudget* budget = nullptr;
  MessageGate* gate = nullptr;         // of messages of unknown size
  MessageGate* streams = nullptr;      // of streams that are read behind their header
  const Arrivals* arrivals = nullptr;  // null: bytes are not counted
  Ticker* ticker = nullptr;
  Log* log = nullptr;         // null: nothing is written
  AuditLog* audit = nullptr;  // null: nothing is written
  CallMetrics* metrics = nullptr;
  wire::Limits limits;
  TimeLimits times;
  ServerInfo info;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_ENVIRONMENT_H_
