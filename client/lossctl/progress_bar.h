#ifndef LOSSD_LOSSCTL_PROGRESS_BAR_H_
#define LOSSD_LOSSCTL_PROGRESS_BAR_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace lossd::lossctl {

// Where a bar is drawn, and when.
struct Terminal {
  std::function<void(absl::string_view)> write;
  std::function<absl::Duration()> elapsed;  // since the work began
  std::function<int()> columns;             // asked at each drawing: windows change
};

// Standard error, if it is a terminal that can take a line back.
std::optional<Terminal> StandardError();

// One line that shows how far a transfer is; appears after a second, redrawn ten times a second at
// most, gone after Finish. Thread-safe; updates after Finish do nothing.
class ProgressBar {
 public:
  explicit ProgressBar(Terminal terminal) : terminal_(std::move(terminal)) {}
  ~ProgressBar() { Finish(); }

  void Update(int64_t done, int64_t total);
  // Shows a line of text in the bar's place; it too only after a second.
  void Say(absl::string_view text);
  void Finish();

 private:
  void Draw(absl::string_view line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Terminal terminal_;
  absl::Mutex mutex_;
  absl::Duration next_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(1);
  bool drawn_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

// The line, `columns` wide at most: " 42% [####------]  1.25 GiB of 2.98 GiB  512 MiB/s  0:03
// left". Precondition: 0 <= done <= total, 0 < total.
std::string ProgressLine(int64_t done, int64_t total, absl::Duration elapsed, int columns);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_PROGRESS_BAR_H_
