#ifndef LOSSD_SERVER_CALLS_CALL_RECORD_H_
#define LOSSD_SERVER_CALLS_CALL_RECORD_H_

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "lossd/loss_spec.h"
#include "server/admission/instant.h"
#include "server/admission/method.h"
#include "server/log/audit_log.h"
#include "server/log/log.h"
#include "server/metrics/call_metrics.h"
#include "server/metrics/labels.h"

namespace lossd {

// Records one call, and reports it when it is over: in the log, at a level by its status, in the
// audit log, and in the metrics. The message of the status is logged only for faults of the server;
// other messages are for the caller, and may quote what it sent. Not thread-safe.
class CallRecord {
 public:
  // All three outlive it; null: nothing is reported there.
  CallRecord(Log* log, AuditLog* audit, CallMetrics* metrics, Method method)
      : log_(log), audit_(audit), metrics_(metrics), call_{.method = method} {}

  // Reports the call if it has begun: as kCancelled if Ended was not called, or if the client did
  // not wait for a status that is no fault of the server.
  ~CallRecord();
  CallRecord(const CallRecord&) = delete;
  CallRecord& operator=(const CallRecord&) = delete;

  // The call has come. Its request id goes to the client with the trailers. `context` outlives
  // this.
  void Began(grpc::ServerContext& context, Instant now);

  // The name of the caller, as Authenticator returns it. Not called, or "": it has none.
  void CalledBy(std::string identity) { identity_ = std::move(identity); }

  // The loss that the call asks for.
  void Wants(const Loss& loss) { call_.loss = loss.index(); }

  // Counts one message.
  void Received(size_t bytes) { call_.received_bytes += static_cast<int64_t>(bytes); }
  void Sent(size_t bytes) { call_.sent_bytes += static_cast<int64_t>(bytes); }

  // Adds to the time that the call spent in `phase`.
  void Took(Phase phase, Interval interval);

  // The status that the call is answered with; `reason`, a constant, is the word of a refusal.
  void Ended(const absl::Status& status, std::string_view reason = "");

 private:
  absl::StatusCode Code() const;
  void WriteLine() const;
  void WriteAudit() const;

  Log* log_;
  AuditLog* audit_;
  CallMetrics* metrics_;
  EndedCall call_;
  grpc::ServerContext* context_ = nullptr;  // once it has begun
  std::string request_id_;
  std::string identity_;
  Instant began_;
  std::string_view reason_;
  std::string message_;  // of a fault of the server
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_CALL_RECORD_H_
