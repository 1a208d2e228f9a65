#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/admission/byte_budget.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kMiB = 1 << 20;

// A call that asks for memory. `answers` counts how often it was told.
class Call final : public ByteBudget::Waiter {
 public:
  Call(ByteBudget& budget, PeerKey peer, int64_t bytes, Instant now,
       Instant deadline = Instant::max())
      : budget_(budget), bytes_(bytes), now_(now) {
    auto at_once = budget.Acquire({.peer = peer, .bytes = bytes, .deadline = deadline}, now, this);
    if (at_once) OnAnswer(*std::move(at_once));
  }
  ~Call() {
    if (waits()) budget_.Withdraw(this, now_);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool waits() const { return answers == 0; }
  bool granted() const { return grant.has_value(); }
  std::optional<Refusal> refusal() const { return RefusalOf(status); }

  int answers = 0;
  std::optional<ByteBudget::Grant> grant;
  absl::Status status;

 private:
  void OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) override {
    ++answers;
    status = answer.status();
    if (answer.ok()) {
      EXPECT_EQ(answer->bytes(), bytes_);
      grant = *std::move(answer);
    }
  }

  ByteBudget& budget_;
  const int64_t bytes_;
  const Instant now_;
};

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

// Random events against what must hold whatever happens.
class BudgetModel {
 public:
  explicit BudgetModel(uint64_t stream) : random_(stream) {}

  void Run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      switch (random_.Below(6)) {
        case 0:
        case 1:
          Arrive();
          break;
        case 2:
          Leave();
          break;
        case 3:
          Withdraw();
          break;
        case 4:
          Grow();
          break;
        default:
          now_ += milliseconds(random_.Below(30));
          budget_.Tick(now_);
      }
      Check();
    }
    calls_.clear();
    EXPECT_EQ(counters_.granted_bytes, 0);
    EXPECT_EQ(counters_.queued, 0);
  }

 private:
  struct Entry {
    std::unique_ptr<Call> call;
    PeerKey peer;
    int64_t bytes;
    Instant since;
  };

  void Arrive() {
    const int64_t sizes[] = {1, kMiB / 2, 3 * kMiB, 20 * kMiB, 64 * kMiB, 70 * kMiB, 90 * kMiB};
    const PeerKey peer = &peers_[random_.Below(3)];
    const int64_t bytes = sizes[random_.Below(7)];
    calls_.push_back({std::make_unique<Call>(budget_, peer, bytes, now_), peer, bytes, now_});
  }

  void Leave() {
    Pick([](const Entry& entry) { return !entry.call->waits(); });
  }

  void Withdraw() {
    const auto waits = [](const Entry& entry) { return entry.call->waits(); };
    const auto found = std::find_if(calls_.begin(), calls_.end(), waits);
    if (found == calls_.end()) return;
    const std::unique_ptr<Call> gone = std::move(found->call);
    calls_.erase(found);
    EXPECT_TRUE(budget_.Withdraw(gone.get(), now_));
    EXPECT_EQ(gone->answers, 0);
    gone->answers = 1;
  }

  void Grow() {
    for (Entry& entry : calls_) {
      if (!entry.call->granted()) continue;
      if (entry.call->grant->Extend(kMiB).ok()) entry.bytes += kMiB;
      return;
    }
  }

  template <class Which>
  void Pick(Which which) {
    std::vector<size_t> candidates;
    for (size_t i = 0; i < calls_.size(); ++i) {
      if (which(calls_[i])) candidates.push_back(i);
    }
    if (candidates.empty()) return;
    const size_t index = candidates[random_.Below(candidates.size())];
    // Destroyed after it left the list: its going may answer others.
    const std::unique_ptr<Call> gone = std::move(calls_[index].call);
    calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void Check() const {
    int64_t granted = 0;
    int64_t waiting = 0;
    const Entry* oldest = nullptr;
    for (const Entry& entry : calls_) {
      EXPECT_LE(entry.call->answers, 1);
      if (entry.call->granted()) granted += entry.bytes;
      if (!entry.call->waits()) continue;
      ++waiting;
      if (oldest == nullptr) oldest = &entry;
      EXPECT_LT(now_ - entry.since, milliseconds(100 + 30)) << "nobody waits beyond the bound";
    }
    EXPECT_LE(granted, 100 * kMiB);
    EXPECT_EQ(counters_.granted_bytes, granted);
    EXPECT_EQ(counters_.queued, waiting);
    EXPECT_LE(waiting, 16);  // some leave at the next tick
    // No lost wake-up: the oldest waits for want of room, or because its peer holds something.
    if (oldest == nullptr) return;
    int64_t of_peer = 0;
    for (const Entry& entry : calls_) {
      if (entry.peer == oldest->peer && entry.call->granted()) of_peer += entry.bytes;
    }
    const int64_t kept = oldest->bytes <= kMiB ? 0 : 10 * kMiB;
    const bool room = granted + oldest->bytes + kept <= 100 * kMiB;
    EXPECT_FALSE(room && of_peer == 0) << oldest->bytes << " could be granted";
  }

  oracle::Random random_;
  const int peers_[3] = {};
  Instant now_{seconds(1000)};
  AdmissionCounters counters_;
  ByteBudget budget_{{.bytes = 100 * kMiB, .max_waiting = 4}, &counters_};
  std::vector<Entry> calls_;
};

TEST(BudgetModel, HoldsWhateverHappens) {
  for (uint64_t stream = 0; stream < 200; ++stream) {
    SCOPED_TRACE(::testing::Message()
                 << "LOSSD_TEST_SEED=" << oracle::TestSeed() << ", stream " << stream);
    BudgetModel(stream).Run(400);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace lossd
