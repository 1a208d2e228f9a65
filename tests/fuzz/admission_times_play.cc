#include <algorithm>
#include <chrono>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/admission/call_times.h"
#include "tests/fuzz/admission_plays.h"

namespace lossd::fuzz {

// A peer's upload against the rule said in words: silence of `upload` ends it whatever it declared,
// and a peer that sends as fast as it should is never ended for its upload.
void PlayTimes(Input& input) {
  const TimeLimits limits = {.call = std::chrono::hours(24)};
  Clock clock;
  const Instant begun = clock.latest();
  CallTimes times(limits, begun);
  int64_t received = input.Integer() & 0xffff'ffff;
  int64_t at_most = 0;
  bool reading = false;
  for (int events = 0; events < 200 && !input.empty(); ++events) {
    const Instant now = clock.Next(input);
    const uint8_t event = input.Byte();
    switch (event % 6) {
      case 0:
        if (reading) break;
        at_most = std::max<int64_t>(input.Integer(), 0);
        times.Reading(now, at_most, received);
        reading = true;
        break;
      case 1:
        if (!reading) break;
        times.Arrived(now, std::max<int64_t>(input.Integer(), 0));
        reading = false;
        break;
      case 2:
        received += int64_t{1} << (input.Byte() % 28);
        break;
      case 3:
        times.Writing(now, std::max<int64_t>(input.Integer(), 0));
        break;
      case 4:
        times.Written();
        break;
      default:
        if (event >= 192) times.Excuse(now);
        if (reading) times.Look(now, received);
    }
    Require(times.Behind(now) >= Interval::zero(), "behind by less than nothing");
    Require(times.due() <= begun + limits.call, "a call may take longer than its limit");
    Require(times.Check(times.due() - Interval(1)) == CallTimes::Overdue::kNothing,
            "overdue before it is due");
  }
  if (!reading) return;
  times.Written();
  times.Look(clock.latest(), received);
  const Instant silent = clock.Skip(limits.upload + CallTimes::kLookEvery);
  times.Look(silent, received);
  Require(times.Check(silent) != CallTimes::Overdue::kNothing,
          absl::StrCat("silence is let be for ", at_most, " bytes that may come"));
}

void PlayHonest(Input& input) {
  const TimeLimits limits;
  Instant now{std::chrono::seconds(1'000'000)};
  CallTimes times({.call = std::chrono::hours(1)}, now);
  int64_t received = input.Byte();
  times.Reading(now, 0, received);
  times.Arrived(now, 100);
  for (int messages = 0; messages < 20 && !input.empty(); ++messages) {
    const int64_t size = int64_t{1} << (10 + input.Byte() % 16);
    times.Reading(now, size, received);
    for (int64_t left = size; left > 0;) {
      if (input.empty()) return;
      const Interval step = std::chrono::milliseconds(input.Byte() % 200);
      const int64_t bytes = std::min<int64_t>(
          left, 1 + limits.bytes_per_second *
                        std::chrono::duration_cast<std::chrono::milliseconds>(step).count() / 1000);
      now += step;
      received += bytes;
      left -= bytes;
      times.Look(now, received);
      Require(times.Check(now) == CallTimes::Overdue::kNothing, "a peer that keeps up is ended");
    }
    times.Arrived(now, size);
  }
}

}  // namespace lossd::fuzz
