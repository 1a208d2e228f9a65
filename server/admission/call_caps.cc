#include "server/admission/call_caps.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_format.h"
#include "server/admission/refusal.h"

namespace lossd {
namespace {

// Peers without a call are remembered for how fast they began theirs, as long as there are few.
constexpr size_t kRememberedPeers = 4096;

// "ipv4:1.2.3.4:567" -> "ipv4:1.2.3.4"; of Unix sockets what is common to all.
std::string_view AddressOf(std::string_view name) { return name.substr(0, name.rfind(':')); }
bool IsConnection(std::string_view name) {
  return name.substr(0, 4) == "ipv4" || name.substr(0, 4) == "ipv6";
}

}  // namespace

absl::StatusOr<CallCaps::Pass> CallCaps::Begin(std::string_view name, Instant now) {
  absl::StatusOr<Pass> pass = Enter(name, now);
  if (tell_ && IsConnection(name) && RefusalOf(pass.status()) == Refusal::kPeerQuota &&
      offenders_.TurnedAway(name, now)) {
    tell_(name);
  }
  return pass;
}

absl::StatusOr<CallCaps::Pass> CallCaps::Enter(std::string_view name, Instant now) {
  const bool connected = IsConnection(name);
  const std::lock_guard lock(mutex_);
  if (draining_) return Refuse(Refusal::kDraining, "the server is about to stop");
  if (calls_ >= limits_.calls) {
    return Refuse(Refusal::kTooManyCalls,
                  absl::StrFormat("the server has %d calls, the most it takes at once", calls_));
  }
  Peer& peer = PeerOf(connected ? AddressOf(name) : "unix", now);
  if (absl::Status may = CheckPeer(peer, name, connected, now); !may.ok()) return may;
  Pass pass;
  pass.connection_ = peer.connections.end();
  if (connected) {  // allocates: before anything is counted
    pass.connection_ = peer.connections.find(name);
    if (pass.connection_ == peer.connections.end()) {
      pass.connection_ = peer.connections.emplace(name, 0).first;
    }
    ++pass.connection_->second;
  }
  pass.caps_ = this;
  pass.peer_ = &peer;
  peer.starts -= 1;
  ++peer.calls;
  counters_->calls = ++calls_;
  return pass;
}

absl::Status CallCaps::CheckPeer(Peer& peer, std::string_view name, bool connected,
                                 Instant now) const {
  const double seconds = std::chrono::duration<double>(now - peer.refilled).count();
  peer.starts =
      std::min(limits_.starts_per_second, peer.starts + seconds * limits_.starts_per_second);
  peer.refilled = now;
  if (peer.starts < 1) {
    return Refuse(
        Refusal::kPeerQuota,
        absl::StrFormat("calls of this peer begin, or are broken off, faster than %g in a "
                        "second",
                        limits_.starts_per_second));
  }
  if (peer.calls >= limits_.calls_per_peer) {
    return Refuse(
        Refusal::kPeerQuota,
        absl::StrFormat("this peer has %d calls, the most it may have at once", peer.calls));
  }
  if (!connected) return absl::OkStatus();
  const auto connection = peer.connections.find(name);
  const int64_t calls = connection == peer.connections.end() ? 0 : connection->second;
  if (calls >= limits_.calls_per_connection) {
    return Refuse(
        Refusal::kPeerQuota,
        absl::StrFormat("this connection has %d calls, the most it may have at once", calls));
  }
  return absl::OkStatus();
}

CallCaps::Peer& CallCaps::PeerOf(std::string_view address, Instant now) {
  const auto found = peers_.find(address);
  if (found != peers_.end()) return found->second;
  if (peers_.size() >= kRememberedPeers) {
    std::erase_if(peers_, [](const auto& entry) { return entry.second.calls == 0; });
  }
  Peer& peer = peers_[std::string(address)];
  peer.starts = limits_.starts_per_second;
  peer.refilled = now;
  return peer;
}

void CallCaps::End(Peer& peer, Connections::iterator connection) {
  const std::lock_guard lock(mutex_);
  if (connection != peer.connections.end() && --connection->second == 0) {
    peer.connections.erase(connection);
  }
  --peer.calls;
  counters_->calls = --calls_;
}

CallCaps::Pass::~Pass() {
  if (caps_ != nullptr) caps_->End(*peer_, connection_);
}

void CallCaps::Pass::Swap(Pass& other) noexcept {
  std::swap(caps_, other.caps_);
  std::swap(peer_, other.peer_);
  std::swap(connection_, other.connection_);
}

Share* CallCaps::Pass::share() const { return &peer_->share; }

void CallCaps::Pass::BrokenOff() {
  if (caps_ == nullptr) return;
  const std::lock_guard lock(caps_->mutex_);
  peer_->starts -= kBrokenOffStarts;
}

void CallCaps::Drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

}  // namespace lossd
