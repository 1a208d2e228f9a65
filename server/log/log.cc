#include "server/log/log.h"

#include <array>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/types/printable.h"
#include "server/log/line_limiter.h"
#include "server/log/line_writer.h"

namespace lossd {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%fZ %l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})";

constexpr std::array<std::string_view, kLogEvents> kEventNames = {
    "start", "drain", "exit", "call", "connection", "reload", "grpc", "log"};

void Append(LogFormat format, const LogField& field, std::string& line) {
  const bool json = format == LogFormat::kJson;
  absl::StrAppend(&line, json ? ",\"" : " ", absl::string_view(field.key.data(), field.key.size()),
                  json ? "\":" : "=");
  if (const auto* const number = std::get_if<int64_t>(&field.value)) {
    absl::StrAppend(&line, *number);
  } else {
    const std::string text = Printable(std::get<std::string_view>(field.value));
    line += json ? JsonValue(text) : TextValue(text);
  }
}

// A line behind its time and level.
std::string TextOf(LogFormat format, LogEvent event, absl::Span<const LogField> fields) {
  std::string line = format == LogFormat::kJson ? R"("event":")" : "";
  line += kEventNames[static_cast<size_t>(event)];
  if (format == LogFormat::kJson) line += '"';
  for (const LogField& field : fields) Append(format, field, line);
  return line;
}

}  // namespace

struct Log::Impl {
  explicit Impl(LogOptions given);

  LineLimiter& LimiterOf(LogLevel level, LogEvent event) {
    return limiters[static_cast<size_t>(level) * kLogEvents + static_cast<size_t>(event)];
  }
  void Emit(LogLevel level, LogEvent event, absl::Span<const LogField> fields, int64_t suppressed);
  void TellSuppressed();

  const LogOptions options;
  std::mutex mutex;
  std::vector<LineLimiter> limiters;  // guarded by mutex
  LineWriter writer;
};

Log::Impl::Impl(LogOptions given)
    : options(std::move(given)),
      limiters(kLogLevels * kLogEvents, LineLimiter(kLogLinesPerSecond)),
      writer(options.out, options.format == LogFormat::kJson ? kJsonPattern : kTextPattern,
             [format = options.format](int64_t lines) {
               return TextOf(format, LogEvent::kLog, {{"dropped", lines}});
             }) {}

void Log::Impl::Emit(LogLevel level, LogEvent event, absl::Span<const LogField> fields,
                     int64_t suppressed) {
  std::string line = TextOf(options.format, event, fields);
  if (suppressed > 0) Append(options.format, {"suppressed", suppressed}, line);
  writer.Write(options.now(), level, line);
}

// What no later line told.
void Log::Impl::TellSuppressed() {
  for (int level = 0; level < kLogLevels; ++level) {
    for (int event = 0; event < kLogEvents; ++event) {
      const auto at = static_cast<LogLevel>(level);
      const auto about = static_cast<LogEvent>(event);
      if (const int64_t lines = LimiterOf(at, about).TakeSuppressed(); lines > 0) {
        Emit(at, about, {}, lines);
      }
    }
  }
}

Log::Log(LogOptions options)
    : level_(options.level), impl_(std::make_unique<Impl>(std::move(options))) {}

Log::~Log() { impl_->TellSuppressed(); }

void Log::Write(LogLevel level, LogEvent event, absl::Span<const LogField> fields) {
  if (!Writes(level)) return;
  std::optional<int64_t> suppressed;
  {
    const std::lock_guard lock(impl_->mutex);
    suppressed = impl_->LimiterOf(level, event).Admit(impl_->options.now());
  }
  if (!suppressed.has_value()) return;
  try {
    impl_->Emit(level, event, fields, *suppressed);
  } catch (const std::bad_alloc&) {  // a call is worth more than its line
  }
}

}  // namespace lossd
