#ifndef LOSSD_SERVER_CALLS_CALL_LOG_H_
#define LOSSD_SERVER_CALLS_CALL_LOG_H_

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/log/log.h"

namespace lossd {

// What the log says of one call: a line when all is over, at a level by its status. What the status
// says is in the line only where the mistake is ours; other texts are for the caller, and may speak
// of what he sent. Not thread-safe.
class CallLog {
 public:
  // `log`, which outlives it, may be null: nothing is written.
  CallLog(Log* log, const char* method) : log_(log), method_(method) {}

  // Writes the line, if the call has begun. No status was told, or the client did not wait for a
  // status that said nothing about the server: kCancelled.
  ~CallLog();
  CallLog(const CallLog&) = delete;
  CallLog& operator=(const CallLog&) = delete;

  // The call has come. Its request id goes to the client with the trailers. `context` outlives
  // this.
  void Began(grpc::ServerContext& context);

  // One message.
  void Received(size_t bytes) { received_ += static_cast<int64_t>(bytes); }
  void Sent(size_t bytes) { sent_ += static_cast<int64_t>(bytes); }

  // It is answered with that; `reason`, a constant, is the word of a refusal.
  void Ended(const absl::Status& status, std::string_view reason = "");

 private:
  absl::StatusCode Code() const;

  Log* log_;
  const char* method_;
  grpc::ServerContext* context_ = nullptr;  // once it has begun
  std::string request_id_;
  absl::Time began_;
  int64_t received_ = 0;
  int64_t sent_ = 0;
  absl::StatusCode code_ = absl::StatusCode::kCancelled;
  std::string_view reason_;
  std::string message_;  // of a mistake of ours
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_CALL_LOG_H_
