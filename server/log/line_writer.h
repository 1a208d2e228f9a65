#ifndef LOSSD_SERVER_LOG_LINE_WRITER_H_
#define LOSSD_SERVER_LOG_LINE_WRITER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace lossd {

enum class LogLevel : int8_t { kDebug, kInfo, kWarning, kError };
inline constexpr int kLogLevels = 4;

// Writes lines to a descriptor on a thread of its own, so that callers never wait for the reader.
// Where more than kMostWaiting lines wait, the oldest are dropped, and a line in their place says
// how many. So does one after lines that could not be written, to a full disk for example.
// Thread-safe.
class LineWriter {
 public:
  // ~0.5 KiB each.
  static constexpr size_t kMostWaiting = 2048;
  // The longest that the destructor waits for what reads.
  static constexpr std::chrono::milliseconds kFlushTime{600};

  // `pattern` is what spdlog makes a line of (time, level, text) with. `dropped` makes the text of
  // a warning: that many lines were lost. The descriptor stays open as long as something is
  // written, which may be longer than this lives.
  LineWriter(int fd, const std::string& pattern, std::function<std::string(int64_t)> dropped);

  // Writes what is waiting, within kFlushTime.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // May throw std::bad_alloc, or lose the line for want of memory.
  void Write(absl::Time time, LogLevel level, std::string_view text);

  // Lines go to `fd` from the next one on. Closes it when another takes its place, and at the end.
  void Redirect(int fd);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOG_LINE_WRITER_H_
