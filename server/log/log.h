#ifndef LOSSD_SERVER_LOG_LOG_H_
#define LOSSD_SERVER_LOG_LOG_H_

#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <variant>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/log/line_writer.h"

namespace lossd {

enum class LogFormat : int8_t { kText, kJson };

// What a line is about.
enum class LogEvent : int8_t {
  kStart,
  kDrain,
  kExit,
  kCall,        // one that ended
  kConnection,  // one that was refused
  kReload,      // of certificates, of tokens, of the audit log
  kGrpc,        // gRPC says so
  kLog,         // about the log itself
};
inline constexpr int kLogEvents = 8;

// Of each event, at each level.
inline constexpr int kLogLinesPerSecond = 100;

struct LogField {
  std::string_view key;  // a word
  std::variant<int64_t, std::string_view> value;
};

struct LogOptions {
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;  // and what is worse
  int out = STDERR_FILENO;           // stays open
  std::function<absl::Time()> now = absl::Now;
};

// The log of the server. A line is one event, as text or as a JSON object:
//
//   2026-01-31T23:59:59.123456Z warning call request_id=6f2c9a0d method=Compute code=INTERNAL
//   {"time":"2026-01-31T23:59:59.123456Z","level":"warning","event":"call","request_id":...
//
// Text values go through Printable, so nothing that came from outside can break a line or reach a
// terminal; of lines beyond kLogLinesPerSecond the next one says how many there were
// ("suppressed"). Callers never wait for `out` (LineWriter). Thread-safe.
class Log {
 public:
  explicit Log(LogOptions options);

  // Writes what is waiting, within LineWriter::kFlushTime.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // To be asked before fields are made that cost something.
  bool Writes(LogLevel level) const { return level >= level_; }

  // Does not throw: without memory for it a line is lost.
  void Write(LogLevel level, LogEvent event, absl::Span<const LogField> fields);

 private:
  struct Impl;
  const LogLevel level_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOG_LOG_H_
