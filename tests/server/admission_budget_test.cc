#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/admission/byte_budget.h"
#include "tests/server/budget_call.h"

namespace lossd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using Call = BudgetCall;

// 100 MiB, of which 10 are for calls of at most 1 MiB.
class Budget : public ::testing::Test {
 protected:
  void Pass(Interval time) {
    now_ += time;
    budget_.Tick(now_);
  }

  const int peers_[3] = {};
  const PeerKey a_ = &peers_[0];
  const PeerKey b_ = &peers_[1];
  Instant now_{seconds(1000)};
  AdmissionCounters counters_;
  ByteBudget budget_{{.bytes = 100 * kMiB, .max_waiting = 3}, &counters_};
};

TEST_F(Budget, WhatIsGrantedComesBackOnce) {
  {
    Call first(budget_, a_, 60 * kMiB, now_);
    ASSERT_TRUE(first.granted());
    ByteBudget::Grant moved = *std::move(first.grant);
    ByteBudget::Grant again;
    again = std::move(moved);
    EXPECT_EQ(counters_.granted_bytes, 60 * kMiB);
    again = ByteBudget::Grant();
    EXPECT_EQ(counters_.granted_bytes, 0);
  }
  EXPECT_EQ(counters_.granted_bytes, 0);
}

TEST_F(Budget, NothingNeedsNoRoom) {
  const Call holds(budget_, a_, 90 * kMiB, now_);
  const Call first(budget_, b_, 0, now_);
  const Call second(budget_, b_, 0, now_);
  EXPECT_TRUE(first.granted() && second.granted());
}

TEST_F(Budget, WhatCanNeverBeIsTooLarge) {
  const Call call(budget_, a_, 90 * kMiB + 1, now_);
  EXPECT_EQ(call.refusal(), Refusal::kTooLarge);
  EXPECT_EQ(call.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(call.status.message()), ::testing::HasSubstr("94371841 bytes"));
  const Call fits(budget_, a_, 90 * kMiB, now_);
  EXPECT_TRUE(fits.granted());
  const Call small(budget_, a_, kMiB, now_);  // a tenth is kept for it
  EXPECT_TRUE(small.granted());
}

TEST_F(Budget, RoomGoesToTheOldestThatWaits) {
  Call holds(budget_, a_, 80 * kMiB, now_);
  const Call first(budget_, a_, 30 * kMiB, now_);
  const Call second(budget_, a_, 40 * kMiB, now_);
  EXPECT_TRUE(first.waits() && second.waits());
  EXPECT_EQ(counters_.queued, 2);
  holds.grant.reset();
  EXPECT_TRUE(first.granted() && second.granted());
  EXPECT_EQ(counters_.queued, 0);
}

TEST_F(Budget, TheQueueIsShort) {
  const Call holds(budget_, a_, 80 * kMiB, now_);
  const Call waiting[] = {{budget_, a_, 30 * kMiB, now_},
                          {budget_, a_, 30 * kMiB, now_},
                          {budget_, a_, 30 * kMiB, now_}};
  const Call late(budget_, a_, 30 * kMiB, now_);
  EXPECT_EQ(late.refusal(), Refusal::kQueueFull);
  Pass(milliseconds(99));
  EXPECT_TRUE(waiting[0].waits());
  Pass(milliseconds(1));
  for (const Call& call : waiting) EXPECT_EQ(call.refusal(), Refusal::kQueueTimeout);
}

TEST_F(Budget, AWaitTakesAQuarterOfTheCallersTime) {
  const Call holds(budget_, a_, 80 * kMiB, now_);
  const Call hurried(budget_, a_, 30 * kMiB, now_, now_ + milliseconds(200));
  Pass(milliseconds(49));
  EXPECT_TRUE(hurried.waits());
  Pass(milliseconds(1));
  EXPECT_EQ(hurried.refusal(), Refusal::kWouldMissDeadline);
}

TEST_F(Budget, SmallOnesPassUntilALargeOneHasWaitedLong) {
  Call holds(budget_, a_, 80 * kMiB, now_);
  const Call large(budget_, a_, 70 * kMiB, now_);
  const Call passes(budget_, a_, 5 * kMiB, now_);
  EXPECT_TRUE(passes.granted());
  now_ += milliseconds(50);
  const Call must_not(budget_, a_, 5 * kMiB, now_);
  EXPECT_TRUE(must_not.waits());
  holds.grant.reset();
  EXPECT_TRUE(large.granted() && must_not.granted());
}

TEST_F(Budget, ASmallerOneOfTheSameClassStaysBehind) {
  const Call holds(budget_, a_, 70 * kMiB, now_);
  const Call first(budget_, a_, 30 * kMiB, now_);
  const Call second(budget_, a_, 15 * kMiB, now_);
  EXPECT_TRUE(first.waits() && second.waits());
}

TEST_F(Budget, WhileOthersWaitNoPeerGetsMoreThanItsShare) {
  Call first(budget_, a_, 40 * kMiB, now_);
  Call second(budget_, a_, 45 * kMiB, now_);
  EXPECT_TRUE(first.granted() && second.granted());
  const Call own(budget_, a_, 30 * kMiB, now_);
  const Call other(budget_, b_, 60 * kMiB, now_);
  first.grant.reset();
  EXPECT_TRUE(own.waits()) << "it would have 75 of 90 while the other wants 60";
  EXPECT_TRUE(other.waits());
  second.grant.reset();
  EXPECT_TRUE(other.granted());
}

TEST_F(Budget, OnePeerMayHaveAllThatNobodyElseWants) {
  const Call calls[] = {{budget_, a_, 45 * kMiB, now_}, {budget_, a_, 45 * kMiB, now_}};
  EXPECT_TRUE(calls[0].granted() && calls[1].granted());
}

// On the commit before this test the first peer had all of it again as soon as nobody waited.
TEST_F(Budget, WhoFoundNoRoomHasItsShareKept) {
  Call holds[] = {{budget_, a_, 45 * kMiB, now_}, {budget_, a_, 45 * kMiB, now_}};
  const Call turned_away(budget_, b_, 40 * kMiB, now_);
  Pass(milliseconds(100));
  EXPECT_EQ(turned_away.refusal(), Refusal::kQueueTimeout);
  holds[0].grant.reset();
  const Call more(budget_, a_, 10 * kMiB, now_);
  EXPECT_TRUE(more.waits()) << "it would have 55, and others want 40 of 90";
  {
    const Call again(budget_, b_, 40 * kMiB, now_);
    EXPECT_TRUE(again.granted());
  }
  Pass(seconds(9));
  const Call still(budget_, a_, 10 * kMiB, now_);
  EXPECT_TRUE(still.waits());
  Pass(seconds(1));
  const Call later(budget_, a_, 10 * kMiB, now_);
  EXPECT_TRUE(later.granted());
}

// Small wishes are satisfied whole, the others equally: 90 for b's 20 and 35 each.
TEST_F(Budget, SharesAreMaxMinFair) {
  const int c = 0;
  const Call of_a(budget_, a_, 45 * kMiB, now_);
  const Call of_c(budget_, &c, 45 * kMiB, now_);
  const Call wants(budget_, b_, 20 * kMiB, now_);
  ASSERT_TRUE(wants.waits());
  EXPECT_TRUE(budget_.Assess());
  EXPECT_TRUE(of_a.grant->Wanted() && of_c.grant->Wanted());
}

TEST_F(Budget, WhatAPeerHasBeyondItsShareIsWantedBack) {
  Call holds[] = {{budget_, a_, 30 * kMiB, now_},
                  {budget_, a_, 30 * kMiB, now_},
                  {budget_, a_, 30 * kMiB, now_}};
  EXPECT_FALSE(budget_.Assess());
  const Call own(budget_, a_, 20 * kMiB, now_);
  EXPECT_FALSE(budget_.Assess()) << "nobody else waits";
  const Call wants(budget_, b_, 20 * kMiB, now_);
  EXPECT_TRUE(budget_.Assess());
  EXPECT_TRUE(holds[1].grant->Wanted());
  holds[1].grant->GiveBack();
  EXPECT_FALSE(holds[0].grant->Wanted()) << "enough is coming";
  EXPECT_TRUE(wants.waits()) << "until the next tick";
  Pass(milliseconds(20));
  EXPECT_TRUE(wants.granted() && own.waits());
  EXPECT_EQ(counters_.granted_bytes, 80 * kMiB);
}

TEST_F(Budget, NothingIsWantedBackForMoreThanAShare) {
  const Call holds[] = {{budget_, a_, 45 * kMiB, now_}, {budget_, a_, 45 * kMiB, now_}};
  const Call greedy(budget_, b_, 50 * kMiB, now_);
  EXPECT_TRUE(greedy.waits());
  EXPECT_FALSE(budget_.Assess());
}

TEST_F(Budget, WithinItsShareNobodyLosesAnything) {
  const Call of_a[] = {{budget_, a_, 22 * kMiB, now_}, {budget_, a_, 22 * kMiB, now_}};
  const int c = 0;
  const Call of_c(budget_, &c, 40 * kMiB, now_);
  const Call wants(budget_, b_, 10 * kMiB, now_);
  EXPECT_TRUE(wants.waits());
  EXPECT_TRUE(budget_.Assess());
  EXPECT_TRUE(of_a[0].grant->Wanted());
  EXPECT_FALSE(of_c.grant->Wanted()) << "40 each, and 10";
}

// On the commit before this test the queue was full for whoever came after one peer.
TEST_F(Budget, APeerThatFillsTheQueueMakesWay) {
  const Call holds(budget_, a_, 80 * kMiB, now_);
  const Call waiting[] = {{budget_, a_, 30 * kMiB, now_},
                          {budget_, a_, 30 * kMiB, now_},
                          {budget_, a_, 30 * kMiB, now_}};
  const Call other(budget_, b_, 30 * kMiB, now_);
  EXPECT_TRUE(other.waits());
  const Call second(budget_, b_, 30 * kMiB, now_);
  EXPECT_EQ(second.refusal(), Refusal::kQueueFull) << "two and one are nearly equal";
  Pass(milliseconds(1));
  EXPECT_TRUE(waiting[0].waits() && waiting[1].waits());
  EXPECT_EQ(waiting[2].refusal(), Refusal::kQueueFull);
}

TEST_F(Budget, WhatIsTakenAtOnceNeverWaits) {
  auto taken = budget_.TakeNow({.peer = a_, .bytes = 85 * kMiB});
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(RefusalOf(budget_.TakeNow({.peer = b_, .bytes = 6 * kMiB}).status()),
            Refusal::kOverBudget);
  EXPECT_EQ(RefusalOf(budget_.TakeNow({.peer = b_, .bytes = 91 * kMiB}).status()),
            Refusal::kTooLarge);
  EXPECT_EQ(RefusalOf(taken->Extend(kMiB)), std::nullopt) << "it is the only one of its peer";
  EXPECT_EQ(RefusalOf(budget_.TakeNow({.peer = a_, .bytes = kMiB}).status()), Refusal::kOverBudget)
      << "b is short of memory";
  *taken = ByteBudget::Grant();
  EXPECT_EQ(counters_.granted_bytes, 0);
}

// The one who waited for the sake of another gets its turn in the very moment the other has got
// what it wanted.
TEST_F(Budget, WhoHeldBackIsNotForgotten) {
  const Call keeps(budget_, a_, 30 * kMiB, now_);
  Call leaves(budget_, a_, 50 * kMiB, now_);
  const Call own(budget_, a_, 25 * kMiB, now_);
  const Call other(budget_, b_, 15 * kMiB, now_);
  EXPECT_TRUE(own.waits() && other.waits());
  leaves.grant.reset();
  EXPECT_TRUE(other.granted());
  EXPECT_TRUE(own.granted());
}

TEST_F(Budget, WhoWithdrawsIsNotAnsweredAndMakesWay) {
  const Call holds(budget_, a_, 70 * kMiB, now_);
  Call first(budget_, a_, 30 * kMiB, now_);
  const Call second(budget_, a_, 20 * kMiB, now_);
  EXPECT_TRUE(second.waits());
  EXPECT_TRUE(budget_.Withdraw(&first, now_));
  EXPECT_FALSE(budget_.Withdraw(&first, now_));
  EXPECT_TRUE(second.granted());
  EXPECT_EQ(first.answers, 0);
  first.answers = 1;  // it is over
}

TEST_F(Budget, AGrantGrowsAsLongAsThereIsRoom) {
  Call call(budget_, a_, 60 * kMiB, now_);
  {
    const Call other(budget_, b_, kMiB, now_);
    EXPECT_TRUE(call.grant->Extend(39 * kMiB).ok());
    EXPECT_EQ(RefusalOf(call.grant->Extend(1)), Refusal::kOverBudget);
    EXPECT_EQ(RefusalOf(call.grant->Extend(kMiB + 1)), Refusal::kTooLarge);
  }
  EXPECT_TRUE(call.grant->Extend(kMiB).ok());
  EXPECT_EQ(call.grant->bytes(), 100 * kMiB);
  call.grant.reset();
  EXPECT_EQ(counters_.granted_bytes, 0);
}

TEST_F(Budget, DrainingTurnsAwayWhoWaitsAndWhoComes) {
  const Call holds(budget_, a_, 80 * kMiB, now_);
  const Call waiting(budget_, a_, 30 * kMiB, now_);
  budget_.Drain(now_);
  EXPECT_EQ(waiting.refusal(), Refusal::kDraining);
  EXPECT_EQ(Call(budget_, a_, 1, now_).refusal(), Refusal::kDraining);
  EXPECT_EQ(counters_.queued, 0);
}

// Nobody waits here: whoever finds no room is turned away.
TEST(BudgetOfThreads, IsWholeInTheEnd) {
  const int peers[4] = {};
  AdmissionCounters counters;
  ByteBudget budget({.bytes = 100 * kMiB, .max_waiting = 0}, &counters);
  std::vector<std::thread> threads;
  for (const int& peer : peers) {
    threads.emplace_back([&budget, &peer] {
      const Instant now(seconds(1000));
      for (int i = 0; i < 500; ++i) {
        const Call call(budget, &peer, (1 + i % 40) * kMiB, now);
        EXPECT_TRUE(call.granted() || call.refusal() == Refusal::kQueueFull);
        std::this_thread::yield();  // others come in between
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counters.granted_bytes, 0);
  const Call all(budget, &peers[0], budget.max_request(), Instant(seconds(1000)));
  EXPECT_TRUE(all.granted());
}

}  // namespace
}  // namespace lossd
