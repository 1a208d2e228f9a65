#include "server/admission/connection_account.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/admission/peer_address.h"

namespace lossd {
namespace {

// At each tick this part of what ended calls may still bring is given up: one in so many.
constexpr int64_t kLingeringTicks = 8;

}  // namespace

// ---------------------------------------------------------------------------------- one account

void ConnectionAccount::Received(int64_t bytes) {
  received_.fetch_add(bytes, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    owed_ += bytes;
    since_sent_ += bytes;
    Update();
  }
  if (ledger_->unexplained() > ledger_->limits_.all) ledger_->BreakGreediest();
}

void ConnectionAccount::KnowWaiting(std::function<bool()> waits) {
  const std::lock_guard lock(mutex_);
  waits_ = std::move(waits);
}

bool ConnectionAccount::BytesWait() {
  const std::lock_guard lock(mutex_);
  return waits_ && waits_();
}

bool ConnectionAccount::StreamsOpened(int64_t count) {
  if (count == 0) return true;
  if (broken_.load(std::memory_order_relaxed)) return false;  // the ledger may be gone
  const LedgerLimits& limits = ledger_->limits_;
  bool too_many = false;
  {
    const std::lock_guard lock(mutex_);
    streams_ += count;
    too_many = streams_ * limits.stream > limits.connection;
    Update();
  }
  if (too_many) Break();
  if (ledger_->unexplained() > limits.all) ledger_->BreakGreediest();
  return !broken_.load(std::memory_order_relaxed);
}

void ConnectionAccount::Sent(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  since_sent_ = 0;
  granted_ = Windows();
  sent_ += bytes;
  const int64_t per_byte = ledger_->limits_.sent_per_received;
  Explain(sent_ / per_byte);
  sent_ %= per_byte;
}

bool ConnectionAccount::MayRead() {
  if (broken_.load(std::memory_order_relaxed)) return false;
  const LedgerLimits& limits = ledger_->limits_;
  {
    const std::lock_guard lock(mutex_);
    const int64_t may_owe = limits.connection + (reading_ > 0 ? limits.overrun : 0);
    if (unexplained() <= may_owe && since_sent_ <= limits.connection + granted_) return true;
  }
  Break();
  return false;
}

void ConnectionAccount::CallBegan() {
  had_calls_.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  ++calls_;
  streams_ = std::max<int64_t>(streams_ - 1, 0);
  Explain(ledger_->limits_.call);
}

// What came of the message that it was reading is explained, and nobody knows how much that was;
// what is still on its way will be.
void ConnectionAccount::CallEnded(int64_t expected) {
  const LedgerLimits& limits = ledger_->limits_;
  const std::lock_guard lock(mutex_);
  --calls_;
  Count(expected, -1);
  const int64_t on_its_way = limits.window + (expected > 0 ? limits.reading : 0);
  lingering_ = std::min(lingering_ + on_its_way, limits.lingering);
  Explain(expected);
}

void ConnectionAccount::Expect(int64_t before, int64_t expected) {
  const std::lock_guard lock(mutex_);
  Count(before, -1);
  Count(expected, +1);
  Update();
}

void ConnectionAccount::Count(int64_t expected, int sign) {
  if (expected == 0) return;
  expected_ += sign * expected;
  reading_ += sign;
}

void ConnectionAccount::Arrived(int64_t bytes) {
  constexpr int64_t kPrefix = 5;  // of gRPC, before each message
  data_taken_.fetch_add(bytes + kPrefix, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  Explain(bytes + bytes / 20);  // and their frames
}

bool ConnectionAccount::overrun() const { return unexplained() > ledger_->limits_.connection / 2; }

void ConnectionAccount::Forgive() {
  const std::lock_guard lock(mutex_);
  owed_ = 0;
  since_sent_ = 0;
  lingering_ = ledger_->limits_.lingering;
  Update();
}

void ConnectionAccount::Break() {
  if (!broken_.exchange(true)) ledger_->broken_.fetch_add(1, std::memory_order_relaxed);
  Retire();
}

// Nothing is asked of it any more.
void ConnectionAccount::Retire() {
  broken_.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  Show(0);
}

void ConnectionAccount::Tick(double seconds) {
  const std::lock_guard lock(mutex_);
  const int64_t came_late = std::min(owed_, lingering_);
  lingering_ -= came_late;
  lingering_ -= lingering_ / kLingeringTicks;
  const auto pings = static_cast<int64_t>(seconds * ledger_->limits_.trickle);
  since_sent_ = std::max<int64_t>(since_sent_ - pings, 0);
  const auto forgotten = static_cast<int64_t>(seconds * ledger_->limits_.forgotten_streams);
  streams_ = std::max<int64_t>(streams_ - forgotten, 0);
  Explain(came_late + pings);
}

void ConnectionAccount::Explain(int64_t bytes) {
  owed_ = std::max<int64_t>(owed_ - bytes, 0);
  Update();
}

// What HTTP/2 lets the client send. It is not taken back when a message has come, so granted_ is
// the most that it was since something was sent.
int64_t ConnectionAccount::Windows() const {
  const LedgerLimits& limits = ledger_->limits_;
  return (1 + calls_) * limits.window + reading_ * limits.reading + lingering_;
}

void ConnectionAccount::Update() {
  if (broken_.load(std::memory_order_relaxed)) return;
  granted_ = std::max(granted_, Windows());
  const int64_t explained = expected_ + calls_ * ledger_->limits_.window + lingering_;
  Show(std::max<int64_t>(owed_ - explained, 0) + streams_ * ledger_->limits_.stream);
}

void ConnectionAccount::Show(int64_t unexplained) {
  const int64_t more = unexplained - unexplained_.load(std::memory_order_relaxed);
  if (more == 0) return;
  unexplained_.store(unexplained, std::memory_order_relaxed);
  address_->unexplained.fetch_add(more, std::memory_order_relaxed);
  ledger_->unexplained_.fetch_add(more, std::memory_order_relaxed);
}

// --------------------------------------------------------------------------------- all of them

std::shared_ptr<ConnectionAccount> Ledger::Open(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto old = accounts_.find(name); old != accounts_.end()) Remove(old);
  ConnectionAccount::Address& address = addresses_[PeerAddressOf(name)];
  std::shared_ptr<ConnectionAccount> account(
      new ConnectionAccount(this, std::string(name), &address));
  accounts_.emplace(name, account);
  ++address.connections;
  return account;
}

void Ledger::Close(ConnectionAccount& account) {
  const std::lock_guard lock(mutex_);
  const auto found = accounts_.find(account.name());
  if (found != accounts_.end() && found->second.get() == &account) Remove(found);
}

void Ledger::Remove(Accounts::iterator account) {
  const std::shared_ptr<ConnectionAccount> gone = std::move(account->second);
  accounts_.erase(account);
  gone->Retire();
  gone->closed_.store(true, std::memory_order_relaxed);
  --gone->address_->connections;
  if (gone->address_->connections > 0) return;
  std::erase_if(addresses_, [&](const auto& entry) { return &entry.second == gone->address_; });
}

std::shared_ptr<ConnectionAccount> Ledger::Find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = accounts_.find(name);
  return found == accounts_.end() ? nullptr : found->second;
}

std::optional<int64_t> Ledger::BytesReceived(std::string_view name) const {
  const std::shared_ptr<ConnectionAccount> account = Find(name);
  if (account == nullptr) return std::nullopt;
  return account->received();
}

bool Ledger::BytesWait(std::string_view name) const {
  const std::shared_ptr<ConnectionAccount> account = Find(name);
  return account != nullptr && account->BytesWait();
}

std::vector<std::shared_ptr<ConnectionAccount>> Ledger::Tick(Instant now) {
  std::vector<std::shared_ptr<ConnectionAccount>> broken;
  const std::lock_guard lock(mutex_);
  const double seconds = ticked_ ? std::chrono::duration<double>(now - *ticked_).count() : 0.0;
  ticked_ = now;
  for (const auto& [name, account] : accounts_) {
    account->Tick(seconds);
    if (account->MayRead() || account->reported_) continue;
    broken.push_back(account);
    account->reported_ = true;
  }
  return broken;
}

// Of the address that owes most, the connection that owes most.
void Ledger::BreakGreediest() {
  const std::lock_guard lock(mutex_);
  if (unexplained() <= limits_.all) return;  // another thread was faster
  ConnectionAccount* greediest = nullptr;
  const auto greed = [](const ConnectionAccount& one) {
    return std::pair(one.unexplained() > 0 ? one.address_->unexplained.load() : 0,
                     one.unexplained());
  };
  for (const auto& [name, account] : accounts_) {
    if (greediest == nullptr || greed(*account) > greed(*greediest)) greediest = account.get();
  }
  if (greediest != nullptr) greediest->Break();
}

}  // namespace lossd
