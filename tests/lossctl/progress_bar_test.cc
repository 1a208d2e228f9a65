#include "client/lossctl/progress_bar.h"

#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr int64_t kGiB = int64_t{1} << 30;

// A terminal that remembers, on a clock that stands still.
struct Screen {
  std::vector<std::string> writes;
  absl::Duration now;

  Terminal terminal() {
    return {[this](absl::string_view text) { writes.emplace_back(text); }, [this] { return now; },
            [] { return 80; }};
  }
};

TEST(ProgressLine, ShowsShareRateAndTimeLeft) {
  EXPECT_EQ(ProgressLine(kGiB, 4 * kGiB, absl::Seconds(2), 80),
            " 25% [#######---------------------]  1.00 GiB of 4.00 GiB  512 MiB/s  0:06 left");
}

TEST(ProgressLine, FitsAnyWidthAndAnyShare) {
  for (int columns = 0; columns < 200; ++columns) {
    for (const int64_t done : {int64_t{0}, int64_t{1}, kGiB / 3, kGiB - 1, kGiB}) {
      for (const absl::Duration elapsed :
           {absl::ZeroDuration(), absl::Seconds(3), absl::Hours(30)}) {
        const std::string line = ProgressLine(done, kGiB, elapsed, columns);
        EXPECT_LE(static_cast<int>(line.size()), std::max(columns - 1, 0)) << line;
      }
    }
  }
}

TEST(ProgressLine, EndsFull) {
  EXPECT_THAT(ProgressLine(kGiB, kGiB, absl::Seconds(1), 60), StartsWith("100% [#"));
  EXPECT_THAT(ProgressLine(kGiB, kGiB, absl::Seconds(1), 60), HasSubstr("#]  1.00 GiB of 1.00"));
}

TEST(ProgressBar, StaysAwayFromShortTransfers) {
  Screen screen;
  ProgressBar bar(screen.terminal());
  screen.now = absl::Milliseconds(999);
  bar.Update(50, 100);
  bar.Finish();
  EXPECT_THAT(screen.writes, IsEmpty());
}

TEST(ProgressBar, DrawsAtMostTenTimesASecondAndLeavesNothing) {
  Screen screen;
  ProgressBar bar(screen.terminal());
  for (int ms = 0; ms <= 2000; ++ms) {
    screen.now = absl::Milliseconds(ms);
    bar.Update(ms, 2000);
  }
  EXPECT_EQ(screen.writes.size(), 11u);  // at 1.0, 1.1, ... 2.0 s
  for (const std::string& text : screen.writes) EXPECT_THAT(text, StartsWith("\r\x1b[K"));
  bar.Finish();
  EXPECT_EQ(screen.writes.back(), "\r\x1b[K");
  const size_t count = screen.writes.size();
  screen.now = absl::Seconds(9);
  bar.Update(1, 2);
  bar.Finish();
  EXPECT_EQ(screen.writes.size(), count);
}

TEST(ProgressBar, GoesWithItsObject) {
  Screen screen;
  screen.now = absl::Seconds(2);
  { ProgressBar(screen.terminal()).Update(1, 2); }
  EXPECT_EQ(screen.writes.size(), 2u);
  EXPECT_EQ(screen.writes.back(), "\r\x1b[K");
}

TEST(ProgressBar, SaysWhatFitsTheLineAndTakesItBack) {
  Screen screen;
  ProgressBar bar(screen.terminal());
  bar.Say("too early");
  EXPECT_THAT(screen.writes, IsEmpty());
  screen.now = absl::Seconds(2);
  bar.Say("writing " + std::string(100, 'a'));
  bar.Finish();
  EXPECT_THAT(screen.writes, ElementsAre("\r\x1b[Kwriting " + std::string(71, 'a'), "\r\x1b[K"));
}

TEST(ProgressBar, TakesAnyNumbers) {
  Screen screen;
  screen.now = absl::Seconds(2);
  ProgressBar bar(screen.terminal());
  bar.Update(0, 0);
  EXPECT_THAT(screen.writes, IsEmpty());
  bar.Update(300, 200);
  EXPECT_THAT(screen.writes.back(), HasSubstr("100% ["));
}

TEST(ProgressBar, TakesManyThreads) {
  Screen screen;
  screen.now = absl::Seconds(2);
  ProgressBar bar(screen.terminal());
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&bar] {
      for (int done = 0; done < 1000; ++done) bar.Update(done, 1000);
    });
  }
  for (std::thread& thread : threads) thread.join();
  bar.Finish();
  EXPECT_EQ(screen.writes.size(), 2u);  // the clock stands still: drawn once, taken back once
}

}  // namespace
}  // namespace lossd::lossctl
