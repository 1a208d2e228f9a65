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
  Held& held = budget_->held_.find(peer_)->second;
  const int64_t left = budget_->limits_.bytes - budget_->granted_;
  if (more > left) {
    budget_->FoundNoRoom(held, more);
    return Refuse(Refusal::kOverBudget,
                  absl::StrFormat("the call needs %d bytes more than the %d it has; the server has "
                                  "%d left (--memory-budget)",
                                  more, bytes_, left));
  }
  if (held.bytes > bytes_ && !budget_->Entitled({.peer = peer_, .bytes = more})) {
    return Refuse(Refusal::kOverBudget,
                  absl::StrFormat("the call needs %d bytes more than the %d it has; its peer has "
                                  "%d, and others are short of memory (--memory-budget)",
                                  more, bytes_, held.bytes));
  }
  budget_->Count(peer_, more);
  bytes_ += more;
  return absl::OkStatus();
}

bool ByteBudget::Grant::Wanted() const {
  if (budget_ == nullptr) return false;
  const std::lock_guard lock(budget_->mutex_);
  if (budget_->wanted_bytes_ <= 0 || !budget_->OthersShort(peer_)) return false;
  return budget_->held_.find(peer_)->second.bytes > budget_->ShareOf(peer_);
}

void ByteBudget::Grant::GiveBack() {
  if (budget_ == nullptr) return;
  ByteBudget* const budget = std::exchange(budget_, nullptr);
  const int64_t bytes = std::exchange(bytes_, 0);
  const std::lock_guard lock(budget->mutex_);
  budget->wanted_bytes_ -= bytes;
  budget->Count(peer_, -bytes);
  budget->LetGo(peer_);
}

void ByteBudget::Count(PeerKey peer, int64_t bytes) {
  granted_ += bytes;
  held_.find(peer)->second.bytes += bytes;
  counters_->granted_bytes = granted_;
  if (granted_ > counters_->granted_peak) counters_->granted_peak = granted_;
}

void ByteBudget::LetGo(PeerKey peer) {
  const auto held = held_.find(peer);
  --held->second.requests;
  if (IsDone(held->second)) held_.erase(held);
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
    if (!waiting_.empty()) Serve(answers);
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
  now_ = std::max(now_, now);
  if (draining_) return Draining();
  waiting_.reserve(waiting_.size() + 1);
  Held& held = held_[request.peer];
  if (waiting_.empty() && HasRoom(request.bytes) && WithinShare(request)) {
    ++held.requests;
    return Take(request);
  }
  if (!MakeWay(held)) {
    FoundNoRoom(held, request.bytes);
    return Refuse(Refusal::kQueueFull,
                  absl::StrFormat("the server's memory is in use and %d calls wait for it already",
                                  waiting_.size()));
  }
  Append(request, held, waiter);
  // Waiters that can be granted now are told by the next caller that comes here without locks.
  Answers own;
  ServeOnce(waiter, own);
  if (own.first == nullptr) {
    FoundNoRoom(held, request.bytes);
    return std::nullopt;
  }
  return std::exchange(waiter->outcome_, std::nullopt);
}

absl::StatusOr<ByteBudget::Grant> ByteBudget::TakeNow(const Request& request) {
  if (request.bytes == 0) return Grant();
  if (request.bytes > max_request()) return NeedsTooMuch(request.bytes, max_request());
  const std::lock_guard lock(mutex_);
  if (draining_) return Draining();
  Held& held = held_[request.peer];
  if (!HasRoom(request.bytes) || !WithinShare(request)) {
    FoundNoRoom(held, request.bytes);
    return Refuse(
        Refusal::kOverBudget,
        absl::StrFormat("the call needs %d bytes of memory; of the server's %d are in use "
                        "and others are short of it (--memory-budget)",
                        request.bytes, granted_));
  }
  ++held.requests;
  return Take(request);
}

bool ByteBudget::Withdraw(Waiter* waiter, Instant now) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    now_ = std::max(now_, now);
    const auto found = std::find(waiting_.begin(), waiting_.end(), waiter);
    if (found == waiting_.end()) return false;
    Remove(found - waiting_.begin());
    LetGo(waiter->request_.peer);
    Serve(answers);
  }
  Deliver(answers);
  return true;
}

void ByteBudget::Tick(Instant now) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    now_ = std::max(now_, now);
    for (size_t i = waiting_.size(); i-- > 0;) {
      const Waiter& waiter = *waiting_[i];
      if (waiter.until_ > now_) continue;
      Dismiss(i,
              Refuse(waiter.late_,
                     "the server's memory is in use; the call waited as long as it "
                     "may"),
              answers);
    }
    Serve(answers);
    std::erase_if(held_, [this](const auto& entry) { return IsDone(entry.second); });
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

bool ByteBudget::Assess() {
  const std::lock_guard lock(mutex_);
  wanted_bytes_ = 0;
  for (const Waiter* waiter : waiting_) {
    const Request& request = waiter->request_;
    if (HasRoom(request.bytes) || !FitsShare(request)) continue;
    wanted_bytes_ += std::min(request.bytes, limits_.bytes - wanted_bytes_);
  }
  if (wanted_bytes_ > 0) wanted_bytes_ -= max_request() - granted_;
  return wanted_bytes_ > 0;
}

void ByteBudget::Answers::Add(Waiter* waiter, absl::StatusOr<Grant> outcome) {
  waiter->outcome_ = std::move(outcome);
  waiter->next_ = nullptr;
  (last != nullptr ? last->next_ : first) = waiter;
  last = waiter;
}

// A waiter that is told may be gone, or wait again, before the next one is told.
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

bool ByteBudget::IsDone(const Held& held) const { return held.requests == 0 && !IsShort(held); }

bool ByteBudget::IsShort(const Held& held) const { return held.short_until > now_; }

void ByteBudget::FoundNoRoom(Held& held, int64_t more) {
  const int64_t wish = more < limits_.bytes - held.bytes ? held.bytes + more : limits_.bytes;
  held.wished = IsShort(held) ? std::max(held.wished, wish) : wish;
  held.short_until = now_ + limits_.keep_share;
}

bool ByteBudget::OthersShort(PeerKey peer) const {
  return std::any_of(held_.begin(), held_.end(), [&](const auto& entry) {
    return entry.first != peer && IsShort(entry.second);
  });
}

// Found by raising an equal share of what is left beside the peers that wish for less than it. The
// wish of the peer itself is not limited here.
int64_t ByteBudget::ShareOf(PeerKey peer) const {
  int64_t share = -1;
  int64_t next = 0;
  while (next > share) {
    share = next;
    int64_t left = max_request();
    int64_t peers = 1;
    for (const auto& [key, held] : held_) {
      if (key == peer) continue;
      const int64_t wish = IsShort(held) ? std::max(held.bytes, held.wished) : held.bytes;
      if (wish <= share) {
        left -= wish;
      } else {
        ++peers;
      }
    }
    next = left / peers;
  }
  return share;
}

bool ByteBudget::FitsShare(const Request& request) const {
  return request.bytes <= ShareOf(request.peer) - held_.find(request.peer)->second.bytes;
}

bool ByteBudget::Entitled(const Request& request) const {
  return !OthersShort(request.peer) || FitsShare(request);
}

// A peer that holds nothing gets something, else a call of more than a share would never run.
bool ByteBudget::WithinShare(const Request& request) const {
  return held_.find(request.peer)->second.bytes == 0 || Entitled(request);
}

// True: one more may wait, perhaps because one of a peer of which two more wait than of the
// newcomer's leaves the queue at the next Tick.
bool ByteBudget::MakeWay(const Held& newcomer) {
  int64_t waiting = 0;
  for (const auto& [key, held] : held_) waiting += held.waiting;
  if (waiting < limits_.max_waiting) return true;
  for (size_t i = waiting_.size(); i-- > 0;) {
    Waiter& waiter = *waiting_[i];
    int64_t& of_peer = held_.find(waiter.request_.peer)->second.waiting;
    if (waiter.displaced_ || of_peer < newcomer.waiting + 2) continue;
    waiter.displaced_ = true;
    waiter.until_ = now_;
    waiter.late_ = Refusal::kQueueFull;
    --of_peer;
    return true;
  }
  return false;
}

void ByteBudget::Append(const Request& request, Held& held, Waiter* waiter) {
  const Interval patience = (request.deadline - now_) / 4;
  waiter->request_ = request;
  waiter->since_ = now_;
  waiter->until_ = now_ + std::min(patience, limits_.max_wait);
  waiter->late_ =
      patience < limits_.max_wait ? Refusal::kWouldMissDeadline : Refusal::kQueueTimeout;
  waiter->displaced_ = false;
  ++held.requests;
  ++held.waiting;
  waiting_.push_back(waiter);
  counters_->queued = static_cast<int64_t>(waiting_.size());
}

void ByteBudget::Serve(Answers& answers) {
  // The one that leaves the queue may have kept others from being served.
  while (ServeOnce(nullptr, answers)) {
  }
}

bool ByteBudget::ServeOnce(const Waiter* only, Answers& answers) {
  bool any = false;
  bool blocked[kClasses] = {};
  for (size_t i = 0; i < waiting_.size();) {
    Waiter* const waiter = waiting_[i];
    const Request& request = waiter->request_;
    bool& behind = blocked[ClassOf(request.bytes)];
    const bool served = only == nullptr || only == waiter;
    if (served && !behind && HasRoom(request.bytes) && WithinShare(request)) {
      Remove(i);
      answers.Add(waiter, Take(request));
      any = true;
      continue;
    }
    // A call that would bring its peer above its share does not block those behind it.
    if (Entitled(request)) {
      behind = true;
      if (now_ - waiter->since_ >= limits_.no_passing_after) break;
    }
    ++i;
  }
  return any;
}

void ByteBudget::Dismiss(size_t index, absl::Status why, Answers& answers) {
  Waiter* const waiter = waiting_[index];
  Remove(index);
  LetGo(waiter->request_.peer);
  answers.Add(waiter, std::move(why));
}

void ByteBudget::Remove(size_t index) {
  const Waiter& waiter = *waiting_[index];
  if (!waiter.displaced_) --held_.find(waiter.request_.peer)->second.waiting;
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
  counters_->queued = static_cast<int64_t>(waiting_.size());
}

}  // namespace lossd
