#include "server/log/line_writer.h"

#include <poll.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <future>
#include <system_error>
#include <thread>
#include <utility>

namespace lossd {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  constexpr std::array<spdlog::level::level_enum, kLogLevels> kLevels = {
      spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  return kLevels[static_cast<size_t>(level)];
}

// Waits for a descriptor that does not block; false: it is broken.
bool WaitForRoom(int fd) {
  pollfd room{fd, POLLOUT, 0};
  return poll(&room, 1, -1) == 1 || errno == EINTR;
}

// Used by the writing thread alone, Redirect excepted. Not a FILE: the end of the process would
// wait for the lock of one that is stuck.
class Sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  Sink(int fd, spdlog::details::thread_pool* pool, std::function<std::string(int64_t)> dropped)
      : fd_(fd), pool_(pool), dropped_(std::move(dropped)) {}
  ~Sink() override {
    Adopt();
    if (owned_) close(fd_);
  }

  void Redirect(int fd) {
    if (const int before = next_.exchange(fd); before >= 0) close(before);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    Adopt();
    const int64_t lost = static_cast<int64_t>(pool_->overrun_counter()) + failed_;
    if (lost > told_) {
      const std::string text = dropped_(lost - told_);
      if (WriteLine({message.time, {}, "", spdlog::level::warn, text})) told_ = lost;
    }
    if (!WriteLine(message)) ++failed_;
  }
  void flush_() override {}

  void Adopt() {
    const int next = next_.exchange(-1);
    if (next < 0) return;
    if (std::exchange(owned_, true)) close(fd_);
    fd_ = next;
    torn_ = false;
  }

  // A line that was written in part is ended before the next begins.
  bool WriteLine(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    if (torn_) line.push_back('\n');
    formatter_->format(message, line);
    const char* at = line.data();
    const char* const end = at + line.size();
    while (at < end) {
      const ssize_t written = write(fd_, at, end - at);
      if (written >= 0) {
        at += written;
      } else if (errno == EAGAIN) {
        if (!WaitForRoom(fd_)) break;
      } else if (errno != EINTR) {
        break;
      }
    }
    torn_ = at != end && (torn_ || at != line.data());
    return at == end;
  }

  int fd_;
  bool owned_ = false;
  std::atomic<int> next_{-1};
  spdlog::details::thread_pool* const pool_;  // calls this, so it is there
  const std::function<std::string(int64_t)> dropped_;
  int64_t failed_ = 0;
  int64_t told_ = 0;
  bool torn_ = false;
};

}  // namespace

struct LineWriter::Impl {
  std::shared_ptr<spdlog::details::thread_pool> writer;
  std::shared_ptr<Sink> sink;
  std::shared_ptr<spdlog::async_logger> logger;
};

LineWriter::LineWriter(int fd, const std::string& pattern,
                       std::function<std::string(int64_t)> dropped)
    : impl_(std::make_unique<Impl>()) {
  impl_->writer = std::make_shared<spdlog::details::thread_pool>(kMostWaiting, 1);
  impl_->sink = std::make_shared<Sink>(fd, impl_->writer.get(), std::move(dropped));
  impl_->logger = std::make_shared<spdlog::async_logger>(
      "lossd", impl_->sink, impl_->writer, spdlog::async_overflow_policy::overrun_oldest);
  impl_->logger->set_formatter(
      std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc, "\n"));
  impl_->logger->set_level(spdlog::level::trace);
  // Else spdlog would write to standard error, on the thread that has the line to write.
  impl_->logger->set_error_handler([](const std::string&) {});
}

// The thread pool's destructor writes what is queued, however long that takes. Where the system has
// no thread to wait for that, the lines are lost.
LineWriter::~LineWriter() {
  std::promise<void> written;
  const std::future<void> done = written.get_future();
  Impl* const impl = impl_.release();
  std::thread last;
  try {
    last = std::thread([impl, written = std::move(written)]() mutable {
      delete impl;
      written.set_value();
    });
  } catch (const std::system_error&) {
    return;
  }
  if (done.wait_for(kFlushTime) == std::future_status::ready) {
    last.join();
  } else {
    last.detach();
  }
}

void LineWriter::Write(absl::Time time, LogLevel level, std::string_view text) {
  impl_->logger->log(absl::ToChronoTime(time), spdlog::source_loc{}, ToSpdlog(level),
                     spdlog::string_view_t(text.data(), text.size()));
}

void LineWriter::Redirect(int fd) { impl_->sink->Redirect(fd); }

}  // namespace lossd
