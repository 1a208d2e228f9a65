#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/admission/byte_budget.h"
#include "tests/fuzz/admission_plays.h"

namespace lossd::fuzz {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kMiB = 1 << 20;
constexpr BudgetLimits kBudget = {.bytes = 100 * kMiB, .max_waiting = 3};

struct BudgetCall final : ByteBudget::Waiter {
  void OnAnswer(absl::StatusOr<ByteBudget::Grant> answer) override {
    ++answers;
    status = answer.status();
    if (answer.ok()) grant = *std::move(answer);
  }
  bool waits() const { return answers == 0; }

  int peer = 0;
  int64_t bytes = 0;
  Instant since;
  int answers = 0;
  absl::Status status;
  ByteBudget::Grant grant;
};

// What holds whatever happens: grants add up and never exceed the budget; calls are answered once
// and do not wait beyond their time; a call that could be served is served; what others want back
// is beyond a share, and once the peers beyond theirs give it back, those within theirs are served.
class BudgetPlay {
 public:
  explicit BudgetPlay(Input& input) : input_(input) {}

  void Run() {
    for (int events = 0; events < 300 && !input_.empty(); ++events) {
      Next();
      Check();
    }
    TakeBack();
    // Nobody waits for ever, and everything returns to zero.
    budget_.Tick(clock_.Skip(seconds(1)));
    for (const auto& call : calls_) Require(!call->waits(), "a call waits for ever");
    calls_.clear();
    budget_.Tick(clock_.Skip(seconds(60)));
    Require(counters_.granted_bytes == 0 && counters_.queued == 0, "something was left");
    BudgetCall all;
    all.bytes = budget_.max_request();
    Ask(all);
    Require(!all.waits() && all.status.ok(), "the whole budget cannot be had in the end");
  }

 private:
  void Ask(BudgetCall& call) {
    call.since = clock_.latest();
    std::optional<absl::StatusOr<ByteBudget::Grant>> answer = budget_.Acquire(
        {.peer = &kPeerNames[call.peer], .bytes = call.bytes}, clock_.latest(), &call);
    if (answer) call.OnAnswer(*std::move(answer));
    const auto why = RefusalOf(call.status);
    if (call.waits() || why == Refusal::kQueueFull) FoundNoRoom(call.peer, call.bytes);
  }

  void FoundNoRoom(int peer, int64_t more) {
    const int64_t wish = std::min(kBudget.bytes, Held(peer) + more);
    wishes_[peer] = IsShort(peer) ? std::max(wishes_[peer], wish) : wish;
    short_until_[peer] = clock_.latest() + kBudget.keep_share;
  }
  bool IsShort(int peer) const { return short_until_[peer] > clock_.latest(); }

  void Next() {
    switch (input_.Byte() % 8) {
      case 0:
      case 1:
      case 2:
        return Arrive();
      case 3:
        return Leave();
      case 4:
        return Withdraw();
      case 5:
        return Grow();
      case 6:
        return TakeBack();
      default:
        budget_.Tick(clock_.Next(input_));
    }
  }

  void Arrive() {
    auto call = std::make_unique<BudgetCall>();
    call->peer = static_cast<int>(input_.Below(kPeers));
    call->bytes = input_.Pick({int64_t{1}, kMiB, 3 * kMiB, 10 * kMiB, 20 * kMiB, 45 * kMiB,
                               65 * kMiB, 90 * kMiB, 91 * kMiB});
    const bool quiet = std::none_of(calls_.begin(), calls_.end(),
                                    [](const auto& other) { return other->waits(); });
    const bool first = Held(call->peer) == 0;
    const bool fits = Room(call->bytes);
    Ask(*call);
    if (quiet && first && fits) Require(!call->waits() && call->status.ok(), "room was not given");
    calls_.push_back(std::move(call));
  }

  template <class Which>
  BudgetCall* Find(Which which) {
    if (calls_.empty()) return nullptr;
    const auto from = static_cast<size_t>(input_.Below(static_cast<int64_t>(calls_.size())));
    for (size_t i = 0; i < calls_.size(); ++i) {
      BudgetCall* const call = calls_[(from + i) % calls_.size()].get();
      if (which(*call)) return call;
    }
    return nullptr;
  }
  static bool Waits(const BudgetCall& call) { return call.waits(); }
  static bool Holds(const BudgetCall& call) { return call.grant.bytes() > 0; }

  void Leave() {
    BudgetCall* const call = Find([](const BudgetCall& one) { return !one.waits(); });
    if (call == nullptr) return;
    const auto found = std::find_if(calls_.begin(), calls_.end(),
                                    [call](const auto& one) { return one.get() == call; });
    const std::unique_ptr<BudgetCall> gone = std::move(*found);  // its end may answer others
    calls_.erase(found);
  }

  void Withdraw() {
    BudgetCall* const call = Find(Waits);
    if (call == nullptr) return;
    Require(budget_.Withdraw(call, clock_.latest()), "a call that waits cannot withdraw");
    Require(call->answers == 0, "a call that withdrew was answered");
    call->answers = 1;
  }

  void Grow() {
    BudgetCall* const call = Find(Holds);
    if (call == nullptr) return;
    const int64_t more = input_.Pick({int64_t{0}, int64_t{1}, kMiB, 30 * kMiB, 101 * kMiB});
    const int64_t left = kBudget.bytes - counters_.granted_bytes;
    const absl::Status grown = call->grant.Extend(more);
    Require(!grown.ok() || more <= left, "more was given than there is");
    if (RefusalOf(grown) == Refusal::kOverBudget && more > left) FoundNoRoom(call->peer, more);
    const bool alone = Held(call->peer) == call->grant.bytes();
    Require(grown.ok() || !alone || more > left,
            "the only call of a peer did not get what is left");
  }

  // True: calls that were asked for what they hold have given it back, as silent ones do.
  bool GiveBack() {
    bool any = false;
    if (!budget_.Assess()) return false;
    for (const auto& call : calls_) {
      if (!call->grant.Wanted()) continue;
      Require(Held(call->peer) > FairShare(call->peer), "a peer within its share was asked");
      call->grant.GiveBack();
      any = true;
    }
    Require(counters_.granted_bytes == Granted(), "what was given back still counts");
    return any;
  }

  void TakeBack() {
    while (GiveBack()) budget_.Tick(clock_.latest());
    for (const auto& call : calls_) {
      if (!call->waits() || Room(call->bytes)) continue;
      const bool within = Held(call->peer) + call->bytes <= FairShare(call->peer);
      const bool beyond = std::any_of(calls_.begin(), calls_.end(), [&](const auto& one) {
        return Holds(*one) && one->peer != call->peer && Held(one->peer) > FairShare(one->peer);
      });
      Require(!within || !beyond,
              "a peer holds more than its share while one within its own waits");
    }
  }

  int64_t Held(int peer) const {
    int64_t sum = 0;
    for (const auto& call : calls_) {
      if (call->peer == peer) sum += call->grant.bytes();
    }
    return sum;
  }
  int64_t Granted() const {
    int64_t sum = 0;
    for (int peer = 0; peer < kPeers; ++peer) sum += Held(peer);
    return sum;
  }
  bool Room(int64_t bytes) const {
    const int64_t kept = bytes <= kSmallCallBytes ? 0 : kBudget.bytes / 10;
    return Granted() + bytes <= kBudget.bytes - kept;
  }

  // Max-min fairness as the textbook has it, of what others hold or have found no room for.
  int64_t FairShare(int peer) const {
    std::vector<int64_t> wishes;
    for (int other = 0; other < kPeers; ++other) {
      if (other == peer) continue;
      wishes.push_back(IsShort(other) ? std::max(Held(other), wishes_[other]) : Held(other));
    }
    std::sort(wishes.begin(), wishes.end());
    int64_t left = budget_.max_request();
    auto peers = static_cast<int64_t>(wishes.size()) + 1;
    for (const int64_t wish : wishes) {
      if (wish > left / peers) break;
      left -= wish;
      --peers;
    }
    return left / peers;
  }

  void Check() const {
    int64_t waiting = 0;
    for (const auto& call : calls_) {
      Require(call->answers <= 1, "a call was answered twice");
      if (!call->waits()) continue;
      ++waiting;
      Require(!(Room(call->bytes) && Held(call->peer) == 0) || Behind(*call),
              "a call waits beside room for it");
    }
    Require(counters_.granted_bytes == Granted(), "grants do not add up");
    Require(Granted() <= kBudget.bytes, "more is granted than there is");
    Require(counters_.queued == waiting, "calls that wait are counted wrong");
  }

  // Whether an older call waits, which may be before it in its turn.
  bool Behind(const BudgetCall& call) const {
    return std::any_of(calls_.begin(), calls_.end(),
                       [&](const auto& one) { return one->waits() && one.get() != &call; });
  }

  Input& input_;
  Clock clock_;
  AdmissionCounters counters_;
  ByteBudget budget_{kBudget, &counters_};
  std::vector<std::unique_ptr<BudgetCall>> calls_;
  int64_t wishes_[kPeers] = {};
  Instant short_until_[kPeers] = {};
};

}  // namespace

void PlayBudget(Input& input) { BudgetPlay(input).Run(); }

// A peer that asks for memory and sends nothing, over and over, against one that asks for little:
// the victim is served while the attacker's calls give back what they do not use when asked.
void PlayHoard(Input& input) {
  AdmissionCounters counters;
  ByteBudget budget({.bytes = 100 * kMiB, .max_waiting = 3}, &counters);
  Clock clock;
  std::vector<std::unique_ptr<BudgetCall>> hoard;
  const auto ask = [&](BudgetCall& call) {
    auto answer = budget.Acquire({.peer = &kPeerNames[call.peer], .bytes = call.bytes},
                                 clock.latest(), &call);
    if (answer) call.OnAnswer(*std::move(answer));
  };
  const auto pass = [&] {
    clock.Skip(milliseconds(20));
    if (budget.Assess()) {
      for (const auto& call : hoard) {
        if (call->grant.Wanted()) call->grant.GiveBack();
      }
    }
    budget.Tick(clock.latest());
  };
  const int64_t each = input.Pick({kMiB + 1, 10 * kMiB, 30 * kMiB, 45 * kMiB, 90 * kMiB});
  const int64_t wanted = input.Pick({kMiB, 2 * kMiB, 20 * kMiB, 40 * kMiB});
  for (int round = 0; round < 20 && !input.empty(); ++round) {
    for (int64_t n = input.Byte() % 32; n > 0; --n) {
      hoard.push_back(std::make_unique<BudgetCall>());
      hoard.back()->peer = 1;
      hoard.back()->bytes = each;
      ask(*hoard.back());
    }
    for (int64_t n = input.Byte() % 4; n > 0; --n) pass();
    BudgetCall victim;
    victim.peer = 2;
    victim.bytes = wanted;
    ask(victim);
    for (int ticks = 0; ticks < 4 && victim.waits(); ++ticks) pass();
    Require(!victim.waits() && victim.status.ok(),
            absl::StrCat("round ", round,
                         ": locked out by calls that send nothing: ", victim.status.ToString()));
  }
  while (!hoard.empty()) {  // the end of one may answer others
    const std::unique_ptr<BudgetCall> gone = std::move(hoard.back());
    hoard.pop_back();
    if (gone->waits()) budget.Withdraw(gone.get(), clock.latest());
  }
}

}  // namespace lossd::fuzz
