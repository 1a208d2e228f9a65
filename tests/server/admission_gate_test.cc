#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "server/admission/memory_limit.h"
#include "server/admission/message_gate.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

// A call that wants to be read.
class Sender final : public MessageGate::Waiter {
 public:
  Sender(MessageGate& gate, PeerKey peer) : gate_(gate) {
    std::optional<MessageGate::Place> at_once = gate.Enter(peer, this);
    if (at_once) OnPlace(*std::move(at_once));
  }
  ~Sender() {
    if (waits()) gate_.Withdraw(this);
  }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  bool waits() const { return told_ == 0; }
  bool has_place() const { return place_.has_value(); }
  bool Withdraw() { return gate_.Withdraw(this); }
  void Leave() { place_.reset(); }
  void GiveBack() { place_->GiveBack(); }
  bool wanted() const { return place_->Wanted(); }
  bool awaited() const { return place_->Awaited(); }
  int told() const { return told_; }

 private:
  void OnPlace(MessageGate::Place place) override {
    ++told_;
    place_ = std::move(place);
  }

  MessageGate& gate_;
  int told_ = 0;
  std::optional<MessageGate::Place> place_;
};

class Gate : public ::testing::Test {
 protected:
  const int peers_[3] = {};
  const PeerKey a_ = &peers_[0];
  const PeerKey b_ = &peers_[1];
  AdmissionCounters counters_;
  MessageGate gate_{4, &counters_};
};

TEST_F(Gate, PlacesGoToTheOldestThatWaits) {
  Sender first(gate_, a_);
  Sender others[] = {{gate_, a_}, {gate_, a_}, {gate_, a_}};
  const Sender second(gate_, a_);
  const Sender third(gate_, a_);
  EXPECT_TRUE(others[2].has_place() && second.waits() && third.waits());
  EXPECT_EQ(counters_.held_back, 2);
  first.Leave();
  EXPECT_TRUE(second.has_place() && third.waits());
  others[0].Leave();
  EXPECT_TRUE(third.has_place());
  EXPECT_EQ(counters_.held_back, 0);
}

TEST_F(Gate, WhoWithdrewIsNotTold) {
  Sender holds[] = {{gate_, a_}, {gate_, a_}, {gate_, a_}, {gate_, a_}};
  Sender first(gate_, a_);
  const Sender second(gate_, a_);
  EXPECT_TRUE(first.Withdraw());
  EXPECT_FALSE(first.Withdraw());
  EXPECT_FALSE(holds[0].Withdraw());
  holds[0].Leave();
  EXPECT_EQ(first.told(), 0);
  EXPECT_TRUE(second.has_place());
}

// One peer has all places; another comes, and gets those that come free until both have as many.
TEST_F(Gate, APlaceGoesToThePeerThatHasFewest) {
  Sender holds[] = {{gate_, a_}, {gate_, a_}, {gate_, a_}, {gate_, a_}};
  const Sender more[] = {{gate_, a_}, {gate_, a_}};
  const Sender others[] = {{gate_, b_}, {gate_, b_}, {gate_, b_}};
  holds[0].Leave();
  holds[1].Leave();
  EXPECT_TRUE(others[0].has_place() && others[1].has_place());
  EXPECT_TRUE(others[2].waits() && more[0].waits());
  holds[2].Leave();
  EXPECT_TRUE(more[0].has_place() && others[2].waits());
}

// Peers of equal holdings have turns: one that has just had a place is behind one that has waited
// for its first, whoever of their calls has waited longest.
TEST_F(Gate, AmongEqualsItGoesRound) {
  const int c = 0;
  Sender holds[] = {{gate_, a_}, {gate_, a_}, {gate_, b_}, {gate_, b_}};
  const Sender more_of_a[] = {{gate_, a_}, {gate_, a_}, {gate_, a_}};
  const Sender more_of_b[] = {{gate_, b_}, {gate_, b_}, {gate_, b_}};
  Sender late[] = {{gate_, &c}, {gate_, &c}, {gate_, &c}};
  holds[0].Leave();
  EXPECT_TRUE(late[0].has_place());
  holds[2].Leave();  // a has 1, b has 1, c has 1, and c was served last but for b, which has left
  EXPECT_TRUE(more_of_a[0].has_place());
  late[0].Leave();
  EXPECT_TRUE(late[1].has_place()) << "it has none";
}

TEST_F(Gate, PlacesAreWantedWhereThatMakesPeersMoreEqual) {
  Sender holds[] = {{gate_, a_}, {gate_, a_}, {gate_, a_}, {gate_, a_}};
  EXPECT_FALSE(holds[0].wanted());
  const Sender own(gate_, a_);
  EXPECT_FALSE(holds[0].wanted()) << "its own peer waits";
  EXPECT_TRUE(holds[0].awaited());
  const Sender others[] = {{gate_, b_}, {gate_, b_}, {gate_, b_}};
  EXPECT_TRUE(holds[0].wanted());
  holds[0].GiveBack();
  EXPECT_TRUE(others[0].waits()) << "until the next tick";
  EXPECT_TRUE(holds[1].wanted());
  holds[1].GiveBack();
  EXPECT_FALSE(holds[2].wanted()) << "then a has 2 and b has 2";
  gate_.Tick();
  EXPECT_TRUE(others[0].has_place() && others[1].has_place());
  EXPECT_TRUE(others[2].waits() && own.waits());
}

TEST_F(Gate, WhoComesDoesNotPassThoseForWhomAPlaceWasGivenBack) {
  Sender holds[] = {{gate_, a_}, {gate_, a_}, {gate_, a_}, {gate_, a_}};
  const Sender waits(gate_, b_);
  holds[0].GiveBack();
  EXPECT_FALSE(holds[1].awaited());
  const Sender late(gate_, a_);
  EXPECT_TRUE(late.waits());
  gate_.Tick();
  EXPECT_TRUE(waits.has_place() && late.waits());
}

// Any order of events: no more places than there are, nobody waits beside a free one, each is told
// once, all are free in the end.
class GateOf : public ::testing::TestWithParam<int> {};

TEST_P(GateOf, AnySequence) {
  const int places = GetParam();
  SCOPED_TRACE(::testing::Message() << "LOSSD_TEST_SEED=" << oracle::TestSeed());
  oracle::Random random(7100 + places);
  const int peers[3] = {};
  AdmissionCounters counters;
  MessageGate gate(places, &counters);
  std::vector<std::unique_ptr<Sender>> calls;
  for (int step = 0; step < 20'000; ++step) {
    if (calls.size() < 12 && random.OneIn(2)) {
      calls.push_back(std::make_unique<Sender>(gate, &peers[random.Below(3)]));
    } else if (!calls.empty()) {
      calls.erase(calls.begin() + random.Below(static_cast<int64_t>(calls.size())));
    }
    int64_t held = 0;
    int64_t waiting = 0;
    for (const auto& call : calls) {
      ASSERT_LE(call->told(), 1);
      (call->has_place() ? held : waiting) += 1;
    }
    ASSERT_LE(held, places);
    ASSERT_EQ(counters.held_back, waiting);
    ASSERT_TRUE(waiting == 0 || held == places) << step;
  }
  calls.clear();
  EXPECT_EQ(counters.held_back, 0);
}
INSTANTIATE_TEST_SUITE_P(Places, GateOf, ::testing::Values(1, 2, 3, 4, 7));

TEST(MessagePlaces, AreHalfOfTheBudgetInMessages) {
  constexpr int64_t kMiB = 1 << 20;
  EXPECT_EQ(MessagePlaces(384 * kMiB, 64 * kMiB), 3);
  EXPECT_EQ(MessagePlaces(8192 * kMiB, 64 * kMiB), 64);
  EXPECT_EQ(MessagePlaces(8192 * kMiB, kMiB), 4096);
  EXPECT_EQ(MessagePlaces(kMiB, 64 * kMiB), 2);
}

}  // namespace
}  // namespace lossd
