#include "server/log/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/files/text_file.h"
#include "core/types/printable.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr char kPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ",%v})";
constexpr char kStandardError[] = "-";
constexpr mode_t kMode = 0640;

// Without waiting for the reader of a pipe that has none: that is an error.
absl::StatusOr<int> OpenFile(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, kMode);
  if (fd < 0) return CannotUse({"--audit-log", path}, std::strerror(errno));
  return fd;
}

void Append(std::string& line, absl::string_view key, std::string_view value) {
  absl::StrAppend(&line, line.empty() ? "\"" : ",\"", key, "\":", JsonValue(Printable(value)));
}

void Append(std::string& line, absl::string_view key, int64_t value) {
  absl::StrAppend(&line, line.empty() ? "\"" : ",\"", key, "\":", value);
}

std::string TextOf(const AuditedCall& call) {
  std::string line;
  Append(line, "identity", call.identity);
  Append(line, "peer", call.peer);
  Append(line, "method", call.method);
  Append(line, "loss", call.loss);
  Append(line, "code", call.code);
  Append(line, "reason", call.reason);
  Append(line, "bytes_in", call.bytes_in);
  Append(line, "bytes_out", call.bytes_out);
  Append(line, "duration_us", call.duration_us);
  Append(line, "request_id", call.request_id);
  return line;
}

std::string DroppedText(int64_t lines) { return absl::StrCat("\"dropped\":", lines); }

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path,
                                                         std::function<absl::Time()> now) {
  int fd = -1;
  if (path != kStandardError) {
    LOSSD_ASSIGN_OR_RETURN(fd, OpenFile(path));
  }
  return std::unique_ptr<AuditLog>(new AuditLog(path, std::move(now), fd));
}

AuditLog::AuditLog(std::string path, std::function<absl::Time()> now, int fd)
    : path_(std::move(path)), now_(std::move(now)), lines_(STDERR_FILENO, kPattern, DroppedText) {
  if (fd >= 0) lines_.Redirect(fd);
}

void AuditLog::Write(const AuditedCall& call) {
  const absl::Time now = now_();
  int64_t suppressed = 0;
  if (call.code != "OK") {
    const std::lock_guard lock(mutex_);
    LineLimiter& limiter = call.identity.empty() ? refused_unknown_ : refused_;
    const std::optional<int64_t> admitted = limiter.Admit(now);
    if (!admitted) return;
    suppressed = *admitted;
  }
  try {
    std::string line = TextOf(call);
    if (suppressed > 0) Append(line, "suppressed", suppressed);
    lines_.Write(now, LogLevel::kInfo, line);
  } catch (const std::bad_alloc&) {  // a call is worth more than its line
  }
}

absl::Status AuditLog::Reopen() {
  if (path_ == kStandardError) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const int fd, OpenFile(path_));
  lines_.Redirect(fd);
  return absl::OkStatus();
}

}  // namespace lossd
