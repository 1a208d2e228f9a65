#ifndef LOSSD_SERVER_ADMISSION_BYTE_BUDGET_H_
#define LOSSD_SERVER_ADMISSION_BYTE_BUDGET_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/admission/counters.h"
#include "server/admission/instant.h"

namespace lossd {

// Tells peers apart, and nothing else.
using PeerKey = const void*;

// Calls of at most that many bytes do not wait for larger ones.
inline constexpr int64_t kSmallCallBytes = int64_t{1} << 20;

struct BudgetLimits {
  int64_t bytes = 0;  // of all calls together; a tenth of it is for small calls only
  int64_t max_waiting = 4;
  // A call waits at most this long, and at most a quarter of the time that its caller has left.
  Interval max_wait = std::chrono::milliseconds(100);
  // What has waited this long is not passed any more, however small the others are.
  Interval no_passing_after = std::chrono::milliseconds(50);
  // For so long after it found no room, a peer has its share kept for it.
  Interval keep_share = std::chrono::seconds(10);
};

// The memory that calls may hold, given out in the order of arrival. Calls of different size class
// may pass each other, so that small ones do not wait for room that only a large one needs.
//
// One peer may hold all of it while no other is short of memory. A peer is short from when it
// finds no room until keep_share later. While others are short, a peer gets no more than its share,
// which is max-min fair: what peers hold or wished for is satisfied from the smallest on, and those
// that want more than what is then left for each have equal parts. A peer that holds more than its
// share keeps it, but a call of it that sends nothing may be asked to give it back (Wanted).
// Thread-safe.
class ByteBudget {
  struct Held;

 public:
  // Bytes of the budget; go back when it is destroyed. Move-only.
  class Grant {
   public:
    Grant() = default;
    Grant(Grant&& other) noexcept { Swap(other); }
    Grant& operator=(Grant&& other) noexcept {
      Grant old(std::move(*this));
      Swap(other);
      return *this;
    }
    ~Grant();

    int64_t bytes() const { return bytes_; }

    // Adds bytes without waiting, ahead of the queue: a call under way gets what it needs if it is
    // the only one of its peer or the peer stays within its share. kOverBudget if there is too
    // little, kTooLarge if there can never be enough. Preconditions: bytes() > 0, more >= 0, and
    // the sum is an int64.
    absl::Status Extend(int64_t more);

    // Its peer holds more than its share, and another that would stay within its own waits for
    // room. As of the budget's last Assess.
    bool Wanted() const;

    // Frees the bytes at once, but passes them on at the budget's next Tick: for callers with
    // locks.
    void GiveBack();

   private:
    friend class ByteBudget;
    Grant(ByteBudget* budget, PeerKey peer, int64_t bytes)
        : budget_(budget), peer_(peer), bytes_(bytes) {}
    void Swap(Grant& other) noexcept;

    ByteBudget* budget_ = nullptr;
    PeerKey peer_ = nullptr;
    int64_t bytes_ = 0;
  };

  struct Request {
    PeerKey peer = nullptr;
    int64_t bytes = 0;
    Instant deadline = Instant::max();  // the caller's
  };

  // A call that waits for a grant. Stays where it is until answered or withdrawn.
  class Waiter {
   protected:
    Waiter() = default;
    ~Waiter() = default;

    // The outcome, once, on whatever thread made room; no lock of the budget's is held.
    virtual void OnAnswer(absl::StatusOr<Grant> answer) = 0;

   private:
    friend class ByteBudget;
    Request request_;
    Instant since_;
    Instant until_;
    bool displaced_ = false;  // leaves at the next Tick, for another peer's sake
    Refusal late_ = Refusal::kQueueTimeout;
    std::optional<absl::StatusOr<Grant>> outcome_;  // once it is decided
    Waiter* next_ = nullptr;                        // of those to be told
  };

  ByteBudget(const BudgetLimits& limits, AdmissionCounters* counters);
  ~ByteBudget();
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  // A grant or a refusal at once, or nullopt: `waiter` will be told. More than max_request():
  // kTooLarge. May be called with a lock held that OnAnswer takes; a Grant may not be destroyed so.
  // The only function here that allocates, before it changes anything.
  std::optional<absl::StatusOr<Grant>> Acquire(const Request& request, Instant now, Waiter* waiter);

  // True: it waited, and will not be answered.
  bool Withdraw(Waiter* waiter, Instant now);

  // A grant at once, or kOverBudget; never passes a share. For memory that a call needs before it
  // is known what else it will.
  absl::StatusOr<Grant> TakeNow(const Request& request);

  // Turns away the calls that have waited long enough. To be called every few milliseconds while
  // calls live.
  void Tick(Instant now);

  // Whether grants are wanted back (see Grant::Wanted), and how much.
  bool Assess();

  // Refuses, from now on, all that would wait: kDraining.
  void Drain(Instant now);

  int64_t max_request() const { return limits_.bytes - small_reserve_; }

 private:
  // Of a peer that has grants, waits for some, or has its share kept.
  struct Held {
    int64_t bytes = 0;
    int64_t requests = 0;  // granted and waiting
    int64_t waiting = 0;   // and not displaced
    // The most that it would have held with what it found no room for; counts until short_until.
    int64_t wished = 0;
    Instant short_until = Instant::min();
  };
  // Those whose outcome is decided, to be told of it without locks.
  struct Answers {
    void Add(Waiter* waiter, absl::StatusOr<Grant> outcome);
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };

  static void Deliver(Answers answers);

  void Release(PeerKey peer, int64_t bytes);

  // With mutex_ held.
  bool HasRoom(int64_t bytes) const;
  bool IsShort(const Held& held) const;
  bool IsDone(const Held& held) const;
  int64_t ShareOf(PeerKey peer) const;
  bool OthersShort(PeerKey peer) const;
  bool FitsShare(const Request& request) const;
  bool Entitled(const Request& request) const;
  bool WithinShare(const Request& request) const;
  void FoundNoRoom(Held& held, int64_t more);
  bool MakeWay(const Held& newcomer);
  void Append(const Request& request, Held& held, Waiter* waiter);
  void Count(PeerKey peer, int64_t bytes);
  void LetGo(PeerKey peer);
  Grant Take(const Request& request);
  void Serve(Answers& answers);
  bool ServeOnce(const Waiter* only, Answers& answers);  // `only`, or all if nullptr
  void Dismiss(size_t index, absl::Status why, Answers& answers);
  void Remove(size_t index);

  const BudgetLimits limits_;
  const int64_t small_reserve_;
  AdmissionCounters* const counters_;
  std::mutex mutex_;
  int64_t granted_ = 0;
  std::map<PeerKey, Held> held_;
  std::vector<Waiter*> waiting_;  // oldest first; a handful
  int64_t wanted_bytes_ = 0;      // back, as of the last Assess
  Instant now_;                   // as far as it has been told
  bool draining_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_BYTE_BUDGET_H_
