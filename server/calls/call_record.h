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

// What is told of one call when all is over: a line in the log, at a level by its status, one in
// the audit log, and its place in the metrics. What the status says is in the line only where the
// mistake is ours; other texts are for the caller, and may speak of what he sent. Not thread-safe.
class CallRecord {
 public:
  // All three outlive it; null: nothing is told there.
  CallRecord(Log* log, AuditLog* audit, CallMetrics* metrics, Method method)
      : log_(log), audit_(audit), metrics_(metrics), call_{.method = method} {}

  // Tells, if the call has begun. No status was told, or the client did not wait for a status that
  // said nothing about the server: kCancelled.
  ~CallRecord();
  CallRecord(const CallRecord&) = delete;
  CallRecord& operator=(const CallRecord&) = delete;

  // The call has come. Its request id goes to the client with the trailers. `context` outlives
  // this.
  void Began(grpc::ServerContext& context, Instant now);

  // Who calls, as Authenticator says. Not called, or "": nobody in particular.
  void CalledBy(std::string identity) { identity_ = std::move(identity); }

  // It is about that.
  void Wants(const Loss& loss) { call_.loss = loss.index(); }

  // One message.
  void Received(size_t bytes) { call_.received_bytes += static_cast<int64_t>(bytes); }
  void Sent(size_t bytes) { call_.sent_bytes += static_cast<int64_t>(bytes); }

  // So much more of its time went to that.
  void Took(Phase phase, Interval interval);

  // It is answered with that; `reason`, a constant, is the word of a refusal.
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
  std::string message_;  // of a mistake of ours
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_CALL_RECORD_H_
