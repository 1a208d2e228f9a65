#include "server/calls/call_record.h"

#include <chrono>
#include <new>
#include <vector>

#include "protos/wire/metadata.h"
#include "server/calls/request_id.h"

namespace lossd {
namespace {

bool IsOurMistake(absl::StatusCode code) {
  return code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown;
}

// Refusals are warnings: an operator has to act on them. Calls that no client waited for any
// more are not.
LogLevel LevelOf(absl::StatusCode code) {
  if (code == absl::StatusCode::kOk) return LogLevel::kDebug;
  if (code == absl::StatusCode::kCancelled || code == absl::StatusCode::kDeadlineExceeded) {
    return LogLevel::kInfo;
  }
  return IsOurMistake(code) ? LogLevel::kError : LogLevel::kWarning;
}

}  // namespace

void CallRecord::Began(grpc::ServerContext& context, Instant now) {
  context_ = &context;
  began_ = now;
  request_id_ = RequestIdOf(context);
  context.AddTrailingMetadata(wire::kRequestIdKey, request_id_);
}

void CallRecord::Took(Phase phase, Interval interval) {
  std::optional<Interval>& sum = call_.phases[static_cast<size_t>(phase)];
  sum = sum.value_or(Interval::zero()) + interval;
}

void CallRecord::Ended(const absl::Status& status, std::string_view reason) {
  call_.code = status.code();
  reason_ = reason;
  if (IsOurMistake(call_.code)) message_ = std::string(status.message());
}

// A call that is broken off looks like an upload that ends too early until gRPC tells.
absl::StatusCode CallRecord::Code() const {
  const bool says_nothing = !IsOurMistake(call_.code) && reason_.empty();
  return says_nothing && context_->IsCancelled() ? absl::StatusCode::kCancelled : call_.code;
}

CallRecord::~CallRecord() {
  if (context_ == nullptr) return;
  call_.code = Code();
  call_.duration = std::chrono::steady_clock::now() - began_;
  if (metrics_ != nullptr) metrics_->Count(call_);
  try {
    if (audit_ != nullptr) WriteAudit();
    if (log_ != nullptr && log_->Writes(LevelOf(call_.code))) WriteLine();
  } catch (const std::bad_alloc&) {  // a call is worth more than its lines
  }
}

void CallRecord::WriteAudit() const {
  const std::string peer = context_->peer();
  const std::string code = absl::StatusCodeToString(call_.code);
  audit_->Write(
      {.identity = identity_,
       .peer = peer,
       .method = NameOf(call_.method),
       .loss = call_.loss ? kLossFacts[*call_.loss].name : "",
       .code = code,
       .reason = reason_,
       .bytes_in = call_.received_bytes,
       .bytes_out = call_.sent_bytes,
       .duration_us = std::chrono::duration_cast<std::chrono::microseconds>(call_.duration).count(),
       .request_id = request_id_});
}

void CallRecord::WriteLine() const {
  const std::string name = absl::StatusCodeToString(call_.code);
  const int64_t microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(call_.duration).count();
  std::vector<LogField> fields = {{"request_id", request_id_},
                                  {"method", NameOf(call_.method)},
                                  {"code", name},
                                  {"reason", reason_},
                                  {"duration_us", microseconds},
                                  {"request_bytes", call_.received_bytes},
                                  {"response_bytes", call_.sent_bytes}};
  if (IsOurMistake(call_.code)) fields.push_back({"message", message_});
  log_->Write(LevelOf(call_.code), LogEvent::kCall, fields);
}

}  // namespace lossd
