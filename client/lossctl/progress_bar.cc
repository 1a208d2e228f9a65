#include "client/lossctl/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/lossctl/units.h"

namespace lossd::lossctl {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";

std::string Clock(double seconds) {
  if (!(seconds < 100 * 3600)) return "-:--";
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

void WriteToStandardError(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;  // a bar is not worth an error
    text.remove_prefix(written);
  }
}

int StandardErrorColumns() {
  winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::optional<Terminal> StandardError() {
  const char* const term = std::getenv("TERM");
  if (isatty(STDERR_FILENO) == 0 || term == nullptr || absl::string_view(term) == "dumb") {
    return std::nullopt;
  }
  const auto start = std::chrono::steady_clock::now();
  return Terminal{
      WriteToStandardError,
      [start] { return absl::FromChrono(std::chrono::steady_clock::now() - start); },
      StandardErrorColumns,
  };
}

std::string ProgressLine(int64_t done, int64_t total, absl::Duration elapsed, int columns) {
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const double rate = static_cast<double>(done) / std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  const std::string percent = absl::StrFormat("%3d%%", static_cast<int>(100 * share));
  const std::string text =
      absl::StrCat("  ", HumanBytes(done), " of ", HumanBytes(total), "  ", HumanBytes(rate),
                   "/s  ", Clock(static_cast<double>(total - done) / rate), " left");
  // The last column stays free: some terminals wrap when it is written.
  const int room = columns - 1 - static_cast<int>(percent.size() + text.size() + 3);
  if (room < 5) return columns > static_cast<int>(percent.size()) ? percent : "";
  const int width = std::min(room, 50);
  const int filled = static_cast<int>(share * width);
  return absl::StrCat(percent, " [", std::string(filled, '#'), std::string(width - filled, '-'),
                      "]", text);
}

void ProgressBar::Update(int64_t done, int64_t total) {
  const absl::Duration elapsed = terminal_.elapsed();
  const absl::MutexLock lock(&mutex_);
  if (finished_ || elapsed < next_ || total <= 0) return;
  next_ = elapsed + absl::Milliseconds(100);
  Draw(ProgressLine(std::clamp(done, int64_t{0}, total), total, elapsed, terminal_.columns()));
}

void ProgressBar::Say(absl::string_view text) {
  const absl::MutexLock lock(&mutex_);
  if (finished_ || terminal_.elapsed() < next_) return;
  Draw(text.substr(0, std::max(terminal_.columns() - 1, 0)));
}

void ProgressBar::Draw(absl::string_view line) {
  drawn_ = true;
  terminal_.write(absl::StrCat(kClearLine, line));
}

void ProgressBar::Finish() {
  const absl::MutexLock lock(&mutex_);
  if (drawn_ && !finished_) terminal_.write(kClearLine);
  finished_ = true;
}

}  // namespace lossd::lossctl
