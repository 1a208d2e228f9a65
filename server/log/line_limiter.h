#ifndef LOSSD_SERVER_LOG_LINE_LIMITER_H_
#define LOSSD_SERVER_LOG_LINE_LIMITER_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace lossd {

// Lets a number of lines through in each second, which begins with its first line, and counts the
// rest. Not thread-safe.
class LineLimiter {
 public:
  explicit LineLimiter(int lines_per_second) : most_(lines_per_second) {}

  // Whether a line may be written at `now`: how many before it could not, or nullopt.
  std::optional<int64_t> Admit(absl::Time now) {
    // A clock that was set back begins a new second; it must not silence the log.
    if (now >= second_ + absl::Seconds(1) || now < second_) {
      second_ = now;
      lines_ = 0;
    }
    if (lines_ >= most_) {
      ++suppressed_;
      return std::nullopt;
    }
    ++lines_;
    return TakeSuppressed();
  }

  // How many could not be written since this was told last.
  int64_t TakeSuppressed() { return std::exchange(suppressed_, 0); }

 private:
  int most_;
  int lines_ = 0;
  int64_t suppressed_ = 0;
  absl::Time second_ = absl::InfinitePast();
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOG_LINE_LIMITER_H_
