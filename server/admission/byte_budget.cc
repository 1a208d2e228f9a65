#include "server/admission/byte_budget.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace lossd {
namespace {

constexpr int64_t kMedium = int64_t{64} << 20;
constexpr int kClasses = 3;

int ClassOf(int64_t bytes) { return bytes <= kSmallCallBytes ? 0 : bytes <= kMedium ? 1 : 2; }

absl::Status NeedsTooMuch(int64_t bytes, int64_t most) {
  return Refuse(Refusal::kTooLarge,
                absl::StrFormat("the call needs %d bytes of memory; this server gives one call at "
                                "most %d (--memory-budget)",
                                bytes, most));
}

absl::Status Draining() { return Refuse(Refusal::kDraining, "the server is about to stop"); }

}  // namespace

ByteBudget::ByteBudget(const BudgetLimits& limits, AdmissionCounters* counters)
    : limits_(limits), small_reserve_(limits.bytes / 10), counters_(counters) {
  waiting_.reserve(limits.max_waiting);
}

ByteBudget::~ByteBudget() = default;

// ------------------------------------------------------------------------------------- grants

ByteBudget::Grant::~Grant() {
  if (budget_ != nullptr) budget_->Release(peer_, bytes_);
}

void ByteBudget::Grant::Swap(Grant& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(peer_, other.peer_);
  std::swap(bytes_, other.bytes_);
}

absl::Status ByteBudget::Grant::Extend(int64_t more) {
  if (more > budget_->limits_.bytes - bytes_)
    return NeedsTooMuch(bytes_ + more, budget_->limits_.bytes);
  const std::lock_guard lock(budget_->mutex_);
  if (more > budget_->limits_.bytes - budget_->granted_) {
    return Refuse(Refusal::kOverBudget,
                  absl::StrFormat("the call needs %d bytes more than the %d it has; the server has "
                                  "%d left (--memory-budget)",
                                  more, bytes_, budget_->limits_.bytes - budget_->granted_));
  }
  budget_->Count(peer_, more);
  bytes_ += more;
  return absl::OkStatus();
}

void ByteBudget::Count(PeerKey peer, int64_t bytes) {
  granted_ += bytes;
  held_.find(peer)->second.bytes += bytes;
  counters_->granted_bytes = granted_;
  if (granted_ > counters_->granted_peak) counters_->granted_peak = granted_;
}

void ByteBudget::LetGo(PeerKey peer) {
  const auto held = held_.find(peer);
  if (--held->second.requests == 0) held_.erase(held);
}

ByteBudget::Grant ByteBudget::Take(const Request& request) {
  Count(request.peer, request.bytes);
  return Grant(this, request.peer, request.bytes);
}

void ByteBudget::Release(PeerKey peer, int64_t bytes) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    Count(peer, -bytes);
    LetGo(peer);
    if (!waiting_.empty()) Serve(now_, answers);
  }
  Deliver(answers);
}

// ------------------------------------------------------------------------------------ waiting

std::optional<absl::StatusOr<ByteBudget::Grant>> ByteBudget::Acquire(const Request& request,
                                                                     Instant now, Waiter* waiter) {
  if (request.bytes == 0) return Grant();
  if (request.bytes > max_request()) {
    return NeedsTooMuch(request.bytes, max_request());
  }
  const std::lock_guard lock(mutex_);
  now_ = now;
  if (draining_) return Draining();
  const bool at_once = waiting_.empty() && HasRoom(request.bytes);
  if (!at_once && static_cast<int64_t>(waiting_.size()) >= limits_.max_waiting) {
    return Refuse(Refusal::kQueueFull,
                  absl::StrFormat("the server's memory is in use and %d calls wait for it already",
                                  waiting_.size()));
  }
  ++held_[request.peer].requests;
  if (at_once) return Take(request);
  const Interval patience = (request.deadline - now) / 4;
  waiter->request_ = request;
  waiter->since_ = now;
  waiter->until_ = now + std::min(patience, limits_.max_wait);
  waiter->late_ =
      patience < limits_.max_wait ? Refusal::kWouldMissDeadline : Refusal::kQueueTimeout;
  waiting_.push_back(waiter);
  counters_->queued = static_cast<int64_t>(waiting_.size());
  // Others who may be granted something now are told by the next to come here without locks.
  Answers own;
  ServeOnce(now, waiter, own);
  if (own.first == nullptr) return std::nullopt;
  return std::exchange(waiter->outcome_, std::nullopt);
}

bool ByteBudget::Withdraw(Waiter* waiter, Instant now) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find(waiting_.begin(), waiting_.end(), waiter);
    if (found == waiting_.end()) return false;
    LetGo(waiter->request_.peer);
    Remove(found - waiting_.begin());
    Serve(now, answers);
  }
  Deliver(answers);
  return true;
}

void ByteBudget::Tick(Instant now) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    now_ = now;
    for (size_t i = waiting_.size(); i-- > 0;) {
      const Waiter& waiter = *waiting_[i];
      if (waiter.until_ > now) continue;
      Dismiss(i,
              Refuse(waiter.late_,
                     "the server's memory is in use; the call waited as long as it "
                     "may"),
              answers);
    }
    Serve(now, answers);
  }
  Deliver(answers);
}

void ByteBudget::Drain(Instant now) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    while (!waiting_.empty()) Dismiss(0, Draining(), answers);
  }
  Deliver(answers);
}

void ByteBudget::Answers::Add(Waiter* waiter, absl::StatusOr<Grant> outcome) {
  waiter->outcome_ = std::move(outcome);
  waiter->next_ = nullptr;
  (last != nullptr ? last->next_ : first) = waiter;
  last = waiter;
}

// Who is told may be gone before the next is, or wait again.
void ByteBudget::Deliver(Answers answers) {
  for (Waiter* waiter = answers.first; waiter != nullptr;) {
    Waiter* const next = waiter->next_;
    waiter->OnAnswer(*std::exchange(waiter->outcome_, std::nullopt));
    waiter = next;
  }
}

// ------------------------------------------------------------------------- with mutex_ held

bool ByteBudget::HasRoom(int64_t bytes) const {
  const int64_t kept = bytes <= kSmallCallBytes ? 0 : small_reserve_;
  return bytes <= limits_.bytes - kept - granted_;
}

// A peer that holds nothing gets something, else a call of more than half would never run.
bool ByteBudget::WithinShare(const Request& request) const {
  const bool others_wait = std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiter* waiter) {
    return waiter->request_.peer != request.peer;
  });
  const int64_t held = held_.find(request.peer)->second.bytes;
  return !others_wait || held == 0 || held + request.bytes <= limits_.bytes / 2;
}

void ByteBudget::Serve(Instant now, Answers& answers) {
  // Who leaves the queue may have been the one for whose sake another held back.
  while (ServeOnce(now, nullptr, answers)) {
  }
}

bool ByteBudget::ServeOnce(Instant now, const Waiter* only, Answers& answers) {
  bool any = false;
  bool blocked[kClasses] = {};
  for (size_t i = 0; i < waiting_.size();) {
    Waiter* const waiter = waiting_[i];
    const Request& request = waiter->request_;
    bool& behind = blocked[ClassOf(request.bytes)];
    const bool served = only == nullptr || only == waiter;
    if (served && !behind && HasRoom(request.bytes) && WithinShare(request)) {
      answers.Add(waiter, Take(request));
      Remove(i);
      any = true;
      continue;
    }
    // Who may not have more for the sake of others is not in their way.
    if (WithinShare(request)) {
      behind = true;
      if (now - waiter->since_ >= limits_.no_passing_after) break;
    }
    ++i;
  }
  return any;
}

void ByteBudget::Dismiss(size_t index, absl::Status why, Answers& answers) {
  LetGo(waiting_[index]->request_.peer);
  answers.Add(waiting_[index], std::move(why));
  Remove(index);
}

void ByteBudget::Remove(size_t index) {
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
  counters_->queued = static_cast<int64_t>(waiting_.size());
}

}  // namespace lossd
