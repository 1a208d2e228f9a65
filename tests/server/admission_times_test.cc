// When a call has waited too long for its peer.
#include <gtest/gtest.h>

#include <optional>

#include "server/admission/call_times.h"

namespace lossd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Overdue = CallTimes::Overdue;

constexpr int64_t kMiB = 1 << 20;
constexpr Instant kStart{seconds(1000)};
constexpr std::optional<int64_t> kUncounted;

// A call behind its header, over a connection whose bytes are counted.
class Upload {
 public:
  explicit Upload(int64_t at_most) {
    times_.Reading(now_, 0, received_);
    times_.Arrived(now_, 100);
    times_.Reading(now_, at_most, received_);
  }

  // A second or less, in which so many bytes come; looks as often as it is due.
  Overdue Pass(Interval time, int64_t bytes) {
    const Instant until = now_ + time;
    received_ += bytes;
    while (times_.due() < until) {
      now_ = times_.due();
      times_.Look(now_, received_);
      if (times_.Check(now_) != Overdue::kNothing) return times_.Check(now_);
    }
    now_ = until;
    times_.Look(now_, received_);
    return times_.Check(now_);
  }

  // Until it is overdue, while so many bytes come in each second.
  Interval Lasts(int64_t bytes_per_second) {
    const Instant since = now_;
    while (Pass(milliseconds(100), bytes_per_second / 10) == Overdue::kNothing) {
      if (now_ - since > seconds(110)) break;
    }
    return now_ - since;
  }

  CallTimes& times() { return times_; }
  Instant now() const { return now_; }
  int64_t received() const { return received_; }

 private:
  Instant now_ = kStart;
  int64_t received_ = 5000;
  CallTimes times_{{}, kStart};
};

TEST(CallTimes, AHeaderHasFiveSeconds) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 64 * kMiB, kUncounted);
  EXPECT_EQ(times.due(), kStart + seconds(5));
  EXPECT_EQ(times.Check(kStart + seconds(5) - milliseconds(1)), Overdue::kNothing);
  EXPECT_EQ(times.Check(kStart + seconds(5)), Overdue::kUpload);
}

TEST(CallTimes, OtherBytesDoNotProlongAHeader) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 64 * kMiB, 0);
  times.Look(kStart + seconds(4), 100 * kMiB);
  EXPECT_EQ(times.Check(kStart + seconds(5)), Overdue::kUpload);
}

// Whatever size was declared: on the commit before this test a message that might be 64 MiB was
// waited for 69 s.
TEST(CallTimes, SilenceLastsFiveSeconds) {
  for (const int64_t at_most : {int64_t{0}, kMiB, 64 * kMiB, int64_t{1} << 62}) {
    EXPECT_EQ(Upload(at_most).Lasts(0), seconds(5)) << at_most;
  }
}

TEST(CallTimes, ATrickleIsSilence) {
  EXPECT_LT(Upload(64 * kMiB).Lasts(10), milliseconds(5200));
  EXPECT_LT(Upload(64 * kMiB).Lasts(kMiB / 100), milliseconds(5200));
}

TEST(CallTimes, SilenceAfterABurstIsSilence) {
  Upload upload(64 * kMiB);
  EXPECT_EQ(upload.Pass(seconds(1), 32 * kMiB), Overdue::kNothing);
  const Interval lasts = upload.Lasts(0);
  EXPECT_LE(lasts, seconds(5));
  EXPECT_GE(lasts, seconds(4));
}

TEST(CallTimes, BytesThatComeAreWaitedFor) {
  EXPECT_GT(Upload(64 * kMiB).Lasts(kMiB), seconds(60));
  // Half of what is wanted uses up the patience half as fast.
  const Interval lasts = Upload(64 * kMiB).Lasts(kMiB / 2);
  EXPECT_GT(lasts, seconds(9));
  EXPECT_LT(lasts, seconds(11));
}

// Bytes of other calls on the connection restore no more than the message can have.
TEST(CallTimes, ALivelyConnectionKeepsASilentCallForItsSizeOnly) {
  const Interval lasts = Upload(8 * kMiB).Lasts(kMiB);
  EXPECT_GE(lasts, milliseconds(12900));
  EXPECT_LT(lasts, milliseconds(13200));
}

TEST(CallTimes, WhatTheMessageTurnsOutToHaveCounts) {
  Upload upload(64 * kMiB);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(upload.Pass(seconds(1), kMiB), Overdue::kNothing);  // of other calls, nearly all
  }
  upload.times().Arrived(upload.now(), 1000);
  upload.times().Reading(upload.now(), kMiB, upload.received());
  EXPECT_EQ(upload.times().Check(upload.now()), Overdue::kUpload);
}

TEST(CallTimes, WhereNobodyCountsThePeerIsLocal) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 0, kUncounted);
  times.Arrived(kStart, 100);
  times.Reading(kStart, 64 * kMiB, kUncounted);
  times.Look(kStart + seconds(1), kUncounted);
  EXPECT_EQ(times.due(), kStart + seconds(9));
  EXPECT_EQ(times.Behind(kStart + seconds(4)), Interval::zero());
  EXPECT_EQ(times.Behind(kStart + seconds(6)), seconds(2));
}

TEST(CallTimes, AConnectionThatIsGoneBringsNothing) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 0, 10);
  times.Arrived(kStart, 100);
  times.Reading(kStart, 64 * kMiB, 10);
  times.Look(kStart + seconds(5), kUncounted);
  EXPECT_EQ(times.Check(kStart + seconds(5)), Overdue::kUpload);
}

TEST(CallTimes, BehindIsWhatThePeerOwes) {
  Upload upload(64 * kMiB);
  EXPECT_EQ(upload.times().Behind(upload.now()), Interval::zero());
  upload.Pass(milliseconds(200), 0);
  EXPECT_EQ(upload.times().Behind(upload.now()), milliseconds(200));
  upload.Pass(milliseconds(100), 10 * kMiB);
  EXPECT_EQ(upload.times().Behind(upload.now()), Interval::zero());
  upload.times().Arrived(upload.now(), 10 * kMiB);
  EXPECT_EQ(upload.times().Behind(upload.now() + seconds(1)), Interval::zero()) << "no message";
}

TEST(CallTimes, WhoSendsTooLittleUsesUpThePatience) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 0, kUncounted);
  times.Arrived(kStart, 100);
  Instant now = kStart;
  int crumbs = 0;
  for (; crumbs < 100; ++crumbs) {  // each within the time of a message, all together not
    times.Reading(now, 0, kUncounted);
    now += seconds(1);
    if (times.Check(now) != Overdue::kNothing) break;
    times.Arrived(now, 1024);
  }
  EXPECT_EQ(crumbs, 5);
}

TEST(CallTimes, WhoSendsEnoughKeepsItAndSavesNone) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 0, kUncounted);
  times.Arrived(kStart, 100);
  Instant now = kStart;
  for (int i = 0; i < 50; ++i) {
    times.Reading(now, kMiB, kUncounted);
    now += seconds(1);
    ASSERT_EQ(times.Check(now), Overdue::kNothing) << i;
    times.Arrived(now, i < 10 ? 100 * kMiB : kMiB);
  }
  times.Reading(now, 0, kUncounted);
  EXPECT_EQ(times.due(), now + seconds(5));
}

TEST(CallTimes, TheServersOwnTimeIsNotThePeers) {
  CallTimes times({}, kStart);
  times.Reading(kStart, 0, kUncounted);
  times.Arrived(kStart, 100);
  EXPECT_EQ(times.due(), kStart + seconds(120));  // nothing is waited for
  times.Reading(kStart + seconds(60), 0, kUncounted);
  EXPECT_EQ(times.due(), kStart + seconds(65));
}

// A server that stood still, or was too busy to read, does not take that for the peer's silence.
TEST(CallTimes, BytesThatNobodyReadAreNotSilence) {
  for (const std::optional<int64_t>& received : {std::optional<int64_t>(5000), kUncounted}) {
    CallTimes times({}, kStart);
    times.Reading(kStart, 0, received);
    times.Arrived(kStart, 100);
    times.Reading(kStart, 0, received);
    Instant now = kStart + seconds(10);  // it stood still
    times.Excuse(now);
    times.Look(now, received);
    EXPECT_EQ(times.Check(now), Overdue::kNothing);
    EXPECT_EQ(times.Behind(now), Interval::zero());
    times.Look(now + seconds(5), received);  // and now nothing waits
    EXPECT_EQ(times.Check(now + seconds(5)), Overdue::kUpload);
    now += seconds(1);
    times.Arrived(now, 0);  // a second of its own
    times.Reading(now, 0, received);
    times.Look(now, received);
    EXPECT_EQ(times.Check(now + seconds(4) - milliseconds(1)), Overdue::kNothing);
    EXPECT_EQ(times.Check(now + seconds(4)), Overdue::kUpload);
  }
}

TEST(CallTimes, ExcusesComeToAnEnd) {
  Upload upload(64 * kMiB);
  const Instant begun = upload.now();
  Instant now = begun;
  while (upload.times().Check(now) == Overdue::kNothing) {
    now += milliseconds(250);
    upload.times().Excuse(now);
    upload.times().Look(now, upload.received());
    ASSERT_LT(now - begun, seconds(60));
  }
  EXPECT_EQ(now - begun, TimeLimits().excused + seconds(5));
}

TEST(CallTimes, AnAnswerHasToBeTaken) {
  CallTimes times({}, kStart);
  times.Writing(kStart, 4 * kMiB);
  EXPECT_EQ(times.Check(kStart + seconds(14) - milliseconds(1)), Overdue::kNothing);
  EXPECT_EQ(times.Check(kStart + seconds(14)), Overdue::kDownload);
  times.Written();
  EXPECT_EQ(times.Check(kStart + seconds(14)), Overdue::kNothing);
}

TEST(CallTimes, NoCallIsLongerThanTheLimit) {
  CallTimes times({}, kStart);
  times.Writing(kStart + seconds(115), 0);
  EXPECT_EQ(times.Check(kStart + seconds(120)), Overdue::kCall);
}

}  // namespace
}  // namespace lossd
