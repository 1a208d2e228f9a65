#ifndef LOSSD_SERVER_LOG_AUDIT_LOG_H_
#define LOSSD_SERVER_LOG_AUDIT_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/log/line_limiter.h"
#include "server/log/line_writer.h"

namespace lossd {

// One call that has ended. Nothing of what was sent or answered.
struct AuditedCall {
  std::string_view identity = {};  // the caller's name (Authenticator); empty: it has none
  std::string_view peer = {};      // the address, as gRPC names it
  std::string_view method = {};
  std::string_view loss = {};    // empty: none was asked for
  std::string_view code = {};    // "OK"
  std::string_view reason = {};  // of a refusal, as the trailer loss-reason has it
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
  int64_t duration_us = 0;
  std::string_view request_id = {};
};

// Of calls that ended otherwise than OK: of those with an identity, and of those without.
inline constexpr int kRefusedAuditLinesPerSecond = 100;

// The log of who called: a line a call, which is a JSON object with the names of AuditedCall and
// the time of its end. Callers never wait for it: of lines that wait to be written the
// oldest are dropped, and a line says how many ("dropped"). Of calls that ended otherwise than OK,
// which cost their callers nothing, kRefusedAuditLinesPerSecond are written in a second, and the
// next such line says how many were not ("suppressed"); callers without an identity do not hide
// those with one. Text values are as in the log (Printable). Thread-safe.
class AuditLog {
 public:
  // Appends to a file, which is made if there is none, or with "-" to standard error.
  // kInvalidArgument: it cannot be written.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(
      const std::string& path, std::function<absl::Time()> now = absl::Now);
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Does not throw: without memory for it a line is lost.
  void Write(const AuditedCall& call);

  // Goes on in the file that has the path now. If that cannot be written: why, and it goes on where
  // it was.
  absl::Status Reopen();

 private:
  AuditLog(std::string path, std::function<absl::Time()> now, int fd);

  const std::string path_;
  const std::function<absl::Time()> now_;
  std::mutex mutex_;
  LineLimiter refused_{kRefusedAuditLinesPerSecond};  // this and the next guarded by mutex_
  LineLimiter refused_unknown_{kRefusedAuditLinesPerSecond};
  LineWriter lines_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOG_AUDIT_LOG_H_
