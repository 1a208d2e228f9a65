#include "server/calls/call_log.h"

#include <vector>

#include "absl/time/clock.h"
#include "server/calls/request_id.h"

namespace lossd {
namespace {

bool IsOurMistake(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown;
}

// Refusals are warnings: somebody has to do something about them. Calls that nobody waited for any
// more are not.
LogLevel LevelOf(absl::StatusCode code) {
  if (code == absl::StatusCode::kOk) return LogLevel::kDebug;
  if (code == absl::StatusCode::kCancelled || code == absl::StatusCode::kDeadlineExceeded) {
    return LogLevel::kInfo;
  }
  return IsOurMistake(code) ? LogLevel::kError : LogLevel::kWarning;
}

}  // namespace

void CallLog::Began(grpc::ServerContext& context) {
  context_ = &context;
  began_ = absl::Now();
  request_id_ = RequestIdOf(context);
  context.AddTrailingMetadata(kRequestIdKey, request_id_);
}

void CallLog::Ended(const absl::Status& status, std::string_view reason) {
  code_ = status.code();
  reason_ = reason;
  if (IsOurMistake(code_)) message_ = std::string(status.message());
}

// A call that is broken off looks like an upload that ends too early until gRPC tells.
absl::StatusCode CallLog::Code() const {
  const bool says_nothing = !IsOurMistake(code_) && reason_.empty();
  return says_nothing && context_->IsCancelled() ? absl::StatusCode::kCancelled : code_;
}

CallLog::~CallLog() {
  if (context_ == nullptr || log_ == nullptr) return;
  const absl::StatusCode code = Code();
  const LogLevel level = LevelOf(code);
  if (!log_->Writes(level)) return;
  const std::string name = absl::StatusCodeToString(code);
  std::vector<LogField> fields = {{"request_id", request_id_},
                                  {"method", method_},
                                  {"code", name},
                                  {"reason", reason_},
                                  {"duration_us", absl::ToInt64Microseconds(absl::Now() - began_)},
                                  {"request_bytes", received_},
                                  {"response_bytes", sent_}};
  if (IsOurMistake(code)) fields.push_back({"message", message_});
  log_->Write(level, LogEvent::kCall, fields);
}

}  // namespace lossd
