#include "server/admission/call_caps.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "lossd/status_macros.h"
#include "server/admission/peer_address.h"
#include "server/admission/refusal.h"

namespace lossd {
namespace {

// Peers without a call are remembered for how fast they began theirs, as long as there are few;
// connections that are gone are forgotten as others come.
constexpr size_t kFewPeers = 1024;

// What a connection that is new may begin although its peer has used up its rate: this part of a
// second's worth.
constexpr double kNewcomersPart = 0.01;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::StatusOr<CallCaps::Pass> CallCaps::Begin(std::string_view connection, Instant now,
                                               std::string_view forwarded_for) {
  bool offends = false;
  const std::string forwarded = proxies_.ForwardedAddress(connection, forwarded_for);
  absl::StatusOr<Pass> pass = Enter(connection, forwarded, now, offends);
  if (offends && tell_) tell_(connection);
  return pass;
}

absl::StatusOr<CallCaps::Pass> CallCaps::Enter(std::string_view name, std::string_view forwarded,
                                               Instant now, bool& offends) {
  const std::lock_guard lock(mutex_);
  Connection& connection = ConnectionOf(name, forwarded, now);
  Peer& peer = *connection.peer;
  absl::Status may = MayBegin(peer, connection, now);
  if (connection.account != nullptr) connection.account->CallBegan();
  if (!may.ok()) {
    if (connection.account != nullptr) connection.account->CallEnded(0);
    offends = Offends(connection, may, now);
    return may;
  }
  Pass pass;
  pass.caps_ = this;
  pass.peer_ = &peer;
  pass.connection_ = &connection;
  pass.account_ = connection.account;
  Charge(peer, connection, 1);
  ++peer.calls;
  ++connection.calls;
  counters_->calls = ++calls_;
  return pass;
}

absl::Status CallCaps::MayBegin(Peer& peer, Connection& connection, Instant now) {
  if (draining_) return Refuse(Refusal::kDraining, "the server is about to stop");
  if (calls_ >= limits_.calls) {
    return Refuse(Refusal::kTooManyCalls,
                  absl::StrFormat("the server has %d calls, the most it takes at once", calls_));
  }
  if (connection.calls >= limits_.calls_per_connection) {
    return Refuse(Refusal::kPeerQuota,
                  absl::StrFormat("this connection has %d calls, the most it may have at once",
                                  connection.calls));
  }
  LOSSD_RETURN_IF_ERROR(HasStarts(peer, connection, now));
  // The last caller need not be the present one; Identify checks callers that are known.
  return &peer == connection.address ? HasRoom(peer.calls, calls_) : absl::OkStatus();
}

absl::Status CallCaps::HasStarts(Peer& peer, Connection& connection, Instant now) const {
  const double peers = peer.starts.Left(limits_.starts_per_second, now);
  const double own = connection.starts.Left(PartOf(connection), now);
  if (peers >= 1 || own >= 1) return absl::OkStatus();
  return Refuse(Refusal::kPeerQuota,
                absl::StrFormat("calls of this peer begin, are broken off, or bring no valid "
                                "token, faster than %g in a second",
                                limits_.starts_per_second));
}

absl::Status CallCaps::HasRoom(int64_t peers, int64_t calls) const {
  if (peers < std::min(limits_.calls_per_peer, limits_.calls - calls)) return absl::OkStatus();
  return Refuse(Refusal::kPeerQuota,
                absl::StrFormat("this peer has %d calls, the most it may have at once while all "
                                "peers have %d",
                                peers, calls));
}

double CallCaps::PartOf(const Connection& connection) const {
  return limits_.starts_per_second /
         static_cast<double>(std::max<int64_t>(connection.peer->connections, 1));
}

void CallCaps::Charge(Peer& peer, Connection& connection, double starts) {
  peer.starts.Take(starts, limits_.starts_per_second);
  connection.starts.Take(starts, PartOf(connection));
}

absl::Status CallCaps::CallAs(Peer& peer, Pass& pass, Instant now) {
  Connection& connection = *pass.connection_;
  const bool same = &peer == pass.peer_;
  if (!same) LOSSD_RETURN_IF_ERROR(HasStarts(peer, connection, now));
  LOSSD_RETURN_IF_ERROR(HasRoom(peer.calls - (same ? 1 : 0), calls_ - 1));
  if (&peer != connection.peer) Switch(connection, &peer);
  if (same) return absl::OkStatus();
  pass.peer_->starts.Take(-1, limits_.starts_per_second);
  peer.starts.Take(1, limits_.starts_per_second);
  --pass.peer_->calls;
  ++peer.calls;
  pass.peer_ = &peer;
  return absl::OkStatus();
}

void CallCaps::Switch(Connection& connection, Peer* peer) {
  --connection.peer->connections;
  ++peer->connections;
  connection.peer = peer;
}

CallCaps::Peer& CallCaps::PeerOf(std::string_view key, Instant now) {
  const auto found = peers_.find(key);
  if (found != peers_.end()) return found->second;
  return peers_.try_emplace(std::string(key), limits_.starts_per_second, now).first->second;
}

CallCaps::Connection& CallCaps::ConnectionOf(std::string_view name, std::string_view forwarded,
                                             Instant now) {
  const std::string key = forwarded.empty()
                              ? std::string(name)
                              : absl::StrCat(View(forwarded), " through ", View(name));
  const auto found = connections_.find(key);
  if (found != connections_.end()) {
    Connection& known = found->second;
    if (known.account == nullptr || !known.account->closed()) return known;
    // Another connection that has the name of one that is gone.
    known.account = ledger_->Find(name);
    return known;
  }
  ForgetSome();
  Peer& address = PeerOf(forwarded.empty() ? PeerAddressOf(name) : std::string(forwarded), now);
  // Whole before it is in the map: any of this may find no memory.
  Connection made(limits_.starts_per_second * kNewcomersPart, now);
  made.name = name;
  made.forwarded = !forwarded.empty();
  made.address = &address;
  made.peer = &address;
  if (ledger_ != nullptr) made.account = ledger_->Find(name);
  Connection& kept = connections_.try_emplace(key, std::move(made)).first->second;
  ++address.connections;
  return kept;
}

// Those that are closed; all that are idle, where nobody knows.
// As many connections as come are looked at, and some more, so that those that are gone do not pile
// up.
void CallCaps::ForgetSome() {
  constexpr int kSome = 4;
  auto next = connections_.upper_bound(looked_at_);
  for (int i = 0; i < kSome && !connections_.empty(); ++i) {
    if (next == connections_.end()) next = connections_.begin();
    looked_at_ = next->first;
    const Connection& one = next->second;
    // Without an account a connection's end is not seen; such are remembered while there are few.
    const bool told = !one.forwarded && one.account != nullptr;
    const bool gone = told ? one.account->closed() : connections_.size() > kFewPeers;
    if (one.calls > 0 || !gone) {
      ++next;
      continue;
    }
    --one.peer->connections;
    next = connections_.erase(next);
  }
  if (peers_.size() < std::max(crowd_, kFewPeers)) return;
  std::erase_if(peers_, [](const auto& entry) {
    return entry.second.calls == 0 && entry.second.connections == 0;
  });
  crowd_ = 2 * peers_.size();
}

bool CallCaps::Offends(Connection& connection, const absl::Status& refused, Instant now) {
  if (lossd::RefusalOf(refused) != Refusal::kPeerQuota || connection.forwarded) return false;
  if (now - connection.period >= kPeriod) {
    connection.period = now;
    connection.refused = 0;
  }
  return ++connection.refused == kMostRefused + 1;
}

size_t CallCaps::remembered() {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

void CallCaps::Drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

// ------------------------------------------------------------------------------------ one call

CallCaps::Pass::~Pass() {
  if (caps_ == nullptr) return;
  if (account_ != nullptr) account_->CallEnded(expected_);
  const std::lock_guard lock(caps_->mutex_);
  --connection_->calls;
  --peer_->calls;
  caps_->counters_->calls = --caps_->calls_;
}

void CallCaps::Pass::Swap(Pass& other) noexcept {
  std::swap(caps_, other.caps_);
  std::swap(peer_, other.peer_);
  std::swap(connection_, other.connection_);
  account_.swap(other.account_);
  std::swap(expected_, other.expected_);
}

absl::Status CallCaps::Pass::Identify(std::string_view identity, Instant now) {
  bool offends = false;
  absl::Status may;
  {
    const std::lock_guard lock(caps_->mutex_);
    Peer& peer = identity.empty() ? *connection_->address
                                  : caps_->PeerOf(absl::StrCat("caller ", View(identity)), now);
    may = caps_->CallAs(peer, *this, now);
    offends = caps_->Offends(*connection_, may, now);
  }
  // The name stays where it is while this call counts.
  if (offends && caps_->tell_) caps_->tell_(connection_->name);
  return may;
}

void CallCaps::Pass::Unauthenticated() {
  if (caps_ == nullptr) return;
  const std::lock_guard lock(caps_->mutex_);
  Peer& address = *connection_->address;
  caps_->Switch(*connection_, &address);
  caps_->Charge(address, *connection_, kCostlyStarts);
}

void CallCaps::Pass::BrokenOff() {
  if (caps_ == nullptr) return;
  const std::lock_guard lock(caps_->mutex_);
  caps_->Charge(*peer_, *connection_, kCostlyStarts);
}

Share* CallCaps::Pass::share() const { return &peer_->share; }

void CallCaps::Pass::Expect(int64_t bytes) { SetExpected(std::max<int64_t>(bytes, 1)); }

void CallCaps::Pass::Arrived(int64_t bytes) {
  if (account_ != nullptr) account_->Arrived(bytes);
  SetExpected(0);
}

void CallCaps::Pass::SetExpected(int64_t bytes) {
  const int64_t before = std::exchange(expected_, bytes);
  if (account_ != nullptr) account_->Expect(before, bytes);
}

bool CallCaps::Pass::Silent() const { return account_ != nullptr && account_->silent(); }

bool CallCaps::Pass::Overrun() const { return account_ != nullptr && account_->overrun(); }

void CallCaps::Pass::Forgive() {
  if (account_ != nullptr) account_->Forgive();
}

}  // namespace lossd
