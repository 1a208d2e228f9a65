#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "server/admission/byte_budget.h"
#include "tests/server/budget_call.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using Call = BudgetCall;

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
