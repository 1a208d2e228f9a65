#include "server/log/log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <chrono>
#include <future>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/log/line_limiter.h"
#include "server/log/printable.h"

namespace lossd {
namespace {

// Lines that wait for the writing thread, ~0.5 KiB each; then the oldest are dropped and counted.
constexpr size_t kQueueLines = 2048;
constexpr std::chrono::seconds kFlushTime{2};

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%fZ %l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})";

constexpr std::array<std::string_view, kLogEvents> kEventNames = {
    "start", "drain", "exit", "call", "connection", "reload", "grpc", "log"};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  constexpr std::array<spdlog::level::level_enum, kLogLevels> kLevels = {
      spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  return kLevels[static_cast<size_t>(level)];
}

using Sink = spdlog::sinks::stdout_sink_base<spdlog::details::console_mutex>;

}  // namespace

struct Log::Impl {
  explicit Impl(LogOptions given);

  LineLimiter& LimiterOf(LogLevel level, LogEvent event) {
    return limiters[static_cast<size_t>(level) * kLogEvents + static_cast<size_t>(event)];
  }
  void Emit(LogLevel level, LogEvent event, absl::Span<const LogField> fields, int64_t suppressed);
  void Append(const LogField& field, std::string& line) const;
  void TellSuppressed();
  void Flush();

  const LogOptions options;
  std::mutex mutex;
  std::vector<LineLimiter> limiters;  // guarded by mutex
  std::shared_ptr<spdlog::details::thread_pool> writer;
  std::shared_ptr<spdlog::async_logger> logger;
};

Log::Impl::Impl(LogOptions given)
    : options(std::move(given)),
      limiters(kLogLevels * kLogEvents, LineLimiter(kLogLinesPerSecond)),
      writer(std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1)) {
  logger =
      std::make_shared<spdlog::async_logger>("lossd", std::make_shared<Sink>(options.out), writer,
                                             spdlog::async_overflow_policy::overrun_oldest);
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      options.format == LogFormat::kJson ? kJsonPattern : kTextPattern,
      spdlog::pattern_time_type::utc, "\n"));
  logger->set_level(ToSpdlog(options.level));
}

void Log::Impl::Append(const LogField& field, std::string& line) const {
  const bool json = options.format == LogFormat::kJson;
  absl::StrAppend(&line, json ? ",\"" : " ", absl::string_view(field.key.data(), field.key.size()),
                  json ? "\":" : "=");
  if (const auto* const number = std::get_if<int64_t>(&field.value)) {
    absl::StrAppend(&line, *number);
  } else {
    const std::string text = Printable(std::get<std::string_view>(field.value));
    line += json ? JsonValue(text) : TextValue(text);
  }
}

void Log::Impl::Emit(LogLevel level, LogEvent event, absl::Span<const LogField> fields,
                     int64_t suppressed) {
  std::string line = options.format == LogFormat::kJson ? R"("event":")" : "";
  line += kEventNames[static_cast<size_t>(event)];
  if (options.format == LogFormat::kJson) line += '"';
  for (const LogField& field : fields) Append(field, line);
  if (suppressed > 0) Append({"suppressed", suppressed}, line);
  logger->log(absl::ToChronoTime(options.now()), spdlog::source_loc{}, ToSpdlog(level),
              spdlog::string_view_t(line));
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
  if (const size_t lines = writer->overrun_counter(); lines > 0) {
    Emit(LogLevel::kWarning, LogEvent::kLog, {{"dropped", static_cast<int64_t>(lines)}}, 0);
  }
}

// The thread pool's destructor writes what is queued, however long that takes.
void Log::Impl::Flush() {
  std::promise<void> written;
  const std::future<void> done = written.get_future();
  std::thread last([writer = std::move(writer), written = std::move(written)]() mutable {
    writer.reset();
    written.set_value();
  });
  if (done.wait_for(kFlushTime) == std::future_status::ready) {
    last.join();
  } else {
    last.detach();
  }
}

Log::Log(LogOptions options)
    : level_(options.level), impl_(std::make_unique<Impl>(std::move(options))) {}

Log::~Log() {
  impl_->TellSuppressed();
  impl_->Flush();
}

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
