#ifndef LOSSD_TESTS_FUZZ_ADMISSION_PLAYS_H_
#define LOSSD_TESTS_FUZZ_ADMISSION_PLAYS_H_

#include <algorithm>
#include <chrono>

#include "server/admission/instant.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {

// What admission_fuzz plays, each part of admission against a simple model of it: events in any
// order, of a few peers, on a clock that stands still, jumps and goes backwards.
void PlayBudget(Input& input);
void PlayHoard(Input& input);
void PlayGate(Input& input);
void PlayTimes(Input& input);
void PlayHonest(Input& input);
void PlayCaps(Input& input);

inline constexpr int kPeers = 4;
inline constexpr int kPeerNames[kPeers] = {};  // the address of one is its peer's key

// Mostly small steps, at times none, long ones, and ones backwards.
class Clock {
 public:
  Instant Next(Input& input) {
    switch (input.Byte() % 8) {
      case 0:
        break;
      case 1:
        now_ += std::chrono::seconds(input.Byte());
        break;
      case 2:
        now_ -= std::chrono::milliseconds(input.Byte());
        break;
      default:
        now_ += std::chrono::milliseconds(input.Byte() % 40);
    }
    latest_ = std::max(latest_, now_);
    return now_;
  }
  Instant Skip(Interval time) {
    now_ = latest_ + time;
    latest_ = now_;
    return now_;
  }
  Instant latest() const { return latest_; }

 private:
  Instant now_{std::chrono::seconds(1'000'000)};
  Instant latest_ = now_;
};

}  // namespace lossd::fuzz

#endif  // LOSSD_TESTS_FUZZ_ADMISSION_PLAYS_H_
