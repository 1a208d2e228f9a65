// Calls at once and calls begun: of connections, addresses and callers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "server/admission/call_caps.h"
#include "server/admission/peer_address.h"

namespace lossd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Instant kStart{seconds(1000)};

std::optional<Refusal> RefusalOf(const absl::StatusOr<CallCaps::Pass>& pass) {
  return lossd::RefusalOf(pass.status());
}

std::string Connection(int address, int port) {
  return "ipv4:10.0.0." + std::to_string(address) + ":" + std::to_string(port);
}

// ------------------------------------------------------------------------------------ addresses

TEST(PeerAddress, IsWhatAPeerCannotChangeAtWill) {
  EXPECT_EQ(PeerAddressOf("ipv4:10.0.0.1:1000"), "ipv4:10.0.0.1");
  EXPECT_EQ(PeerAddressOf("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:1000"), "ipv6:2001:db8:1:2::/64");
  EXPECT_EQ(PeerAddressOf("ipv6:%5B2001:db8:1:2::9%5D:1"), "ipv6:2001:db8:1:2::/64");
  EXPECT_EQ(PeerAddressOf("ipv6:%5B::ffff:10.0.0.1%5D:1"), "ipv4:10.0.0.1");
  EXPECT_EQ(PeerAddressOf("ipv6:%5Bfe80::1%25eth0%5D:1"), "ipv6:fe80::/64");
  EXPECT_EQ(PeerAddressOf("unix:1000:17"), "unix:1000");
  EXPECT_EQ(PeerAddressOf("unix:"), "unix");
  EXPECT_EQ(PeerAddressOf("whatever"), "whatever");
  EXPECT_EQ(PeerAddressOf(""), "");
}

TEST(PeerAddress, OfAHost) {
  EXPECT_EQ(PeerAddressOfHost("10.0.0.1"), "ipv4:10.0.0.1");
  EXPECT_EQ(PeerAddressOfHost("2001:db8::1"), "ipv6:2001:db8::/64");
  for (const char* none : {"", "10.0.0", "10.0.0.1:5", "host", "[::1]", "10.0.0.1 "}) {
    EXPECT_EQ(PeerAddressOfHost(none), "") << none;
  }
  EXPECT_EQ(PeerAddressOfHost(std::string(1000, '1')), "");
}

// ---------------------------------------------------------------------------------- calls at once

TEST(CallCaps, OfAConnectionOfAPeerOfAll) {
  AdmissionCounters counters;
  CallCaps caps({.calls = 5, .calls_per_peer = 3, .calls_per_connection = 2}, &counters);
  std::vector<absl::StatusOr<CallCaps::Pass>> passes;
  const auto begin = [&](const char* name) {
    passes.push_back(caps.Begin(name, kStart));
    return RefusalOf(passes.back());
  };
  EXPECT_EQ(begin("ipv4:10.0.0.1:1000"), std::nullopt);
  EXPECT_EQ(begin("ipv4:10.0.0.1:1000"), std::nullopt);
  EXPECT_EQ(begin("ipv4:10.0.0.1:1000"), Refusal::kPeerQuota);  // the connection
  EXPECT_EQ(begin("ipv4:10.0.0.1:1001"), std::nullopt);
  EXPECT_EQ(begin("ipv4:10.0.0.1:1002"), Refusal::kPeerQuota);  // the peer
  EXPECT_EQ(begin("ipv6:%5B::1%5D:1000"), std::nullopt);
  EXPECT_EQ(begin("unix:0:1"), std::nullopt);
  EXPECT_EQ(begin("ipv6:%5B::2%5D:1000"), Refusal::kTooManyCalls);
  EXPECT_EQ(counters.calls, 5);
  passes.clear();
  EXPECT_EQ(counters.calls, 0);
  EXPECT_EQ(begin("ipv4:10.0.0.1:1002"), std::nullopt);
}

TEST(CallCaps, PeersWhoComeLaterFindRoom) {
  AdmissionCounters counters;
  CallCaps caps({.calls_per_connection = 1000}, &counters);
  std::vector<CallCaps::Pass> passes;
  const auto take_all = [&](int address) {
    for (int taken = 0;; ++taken) {
      absl::StatusOr<CallCaps::Pass> pass = caps.Begin(Connection(address, 1), kStart);
      if (!pass.ok()) {
        EXPECT_EQ(RefusalOf(pass), Refusal::kPeerQuota);
        return taken;
      }
      passes.push_back(*std::move(pass));
    }
  };
  EXPECT_EQ(take_all(1), 512);  // alone: half of all
  EXPECT_EQ(take_all(2), 256);
  EXPECT_EQ(take_all(3), 128);
  for (int other = 4; other < 10; ++other) {
    absl::StatusOr<CallCaps::Pass> pass = caps.Begin(Connection(other, 1), kStart);
    EXPECT_TRUE(pass.ok()) << other;
  }
}

TEST(CallCaps, UsersOfUnixSocketsArePeers) {
  AdmissionCounters counters;
  CallCaps caps({.calls_per_peer = 2}, &counters);
  const auto a = caps.Begin("unix:1000:1", kStart);
  const auto b = caps.Begin("unix:1000:2", kStart);
  const auto c = caps.Begin("unix:1001:3", kStart);
  EXPECT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ(a->peer(), b->peer());
  EXPECT_NE(a->peer(), c->peer());
  EXPECT_EQ(RefusalOf(caps.Begin("unix:1000:4", kStart)), Refusal::kPeerQuota);
}

TEST(CallCaps, DrainingTurnsAway) {
  AdmissionCounters counters;
  CallCaps caps({}, &counters);
  caps.Drain();
  EXPECT_EQ(RefusalOf(caps.Begin("unix:0:1", kStart)), Refusal::kDraining);
}

// -------------------------------------------------------------------------------------- callers

TEST(CallCaps, CallersWhoAreKnownArePeersWhereverTheyCallFrom) {
  AdmissionCounters counters;
  CallCaps caps({.calls_per_peer = 2}, &counters);
  std::vector<CallCaps::Pass> passes;
  const auto call = [&](int address, const char* identity) {
    absl::StatusOr<CallCaps::Pass> pass =
        caps.Begin(Connection(address, static_cast<int>(passes.size())), kStart);
    EXPECT_TRUE(pass.ok()) << pass.status();
    const absl::Status may = pass->Identify(identity, kStart);
    if (may.ok()) passes.push_back(*std::move(pass));
    return lossd::RefusalOf(may);
  };
  // One address, three callers: none is in the way of another.
  EXPECT_EQ(call(1, "anna"), std::nullopt);
  EXPECT_EQ(call(1, "anna"), std::nullopt);
  EXPECT_EQ(call(1, "bert"), std::nullopt);
  EXPECT_EQ(call(1, "bert"), std::nullopt);
  EXPECT_EQ(call(1, ""), std::nullopt);
  EXPECT_EQ(passes[0].peer(), passes[1].peer());
  EXPECT_NE(passes[0].peer(), passes[2].peer());
  EXPECT_NE(passes[0].peer(), passes[4].peer());
  // Another address, a caller who has two calls already.
  EXPECT_EQ(call(2, "anna"), Refusal::kPeerQuota);
  EXPECT_EQ(call(2, "carl"), std::nullopt);
  EXPECT_EQ(call(2, ""), std::nullopt);
  EXPECT_EQ(call(2, ""), std::nullopt);
  passes.clear();
  EXPECT_EQ(counters.calls, 0);
  EXPECT_EQ(call(2, "anna"), std::nullopt);
}

// A proxy puts several callers on one connection: that anna has all she may have refuses only her.
TEST(CallCaps, CallersMayShareAConnection) {
  AdmissionCounters counters;
  CallCaps caps({.calls_per_peer = 2}, &counters);
  std::vector<CallCaps::Pass> passes;
  const auto call = [&](const char* identity) {
    absl::StatusOr<CallCaps::Pass> pass = caps.Begin(Connection(1, 1), kStart);
    EXPECT_TRUE(pass.ok()) << pass.status();
    const absl::Status may = pass->Identify(identity, kStart);
    if (may.ok()) passes.push_back(*std::move(pass));
    return lossd::RefusalOf(may);
  };
  EXPECT_EQ(call("anna"), std::nullopt);
  EXPECT_EQ(call("anna"), std::nullopt);
  EXPECT_EQ(call("anna"), Refusal::kPeerQuota);
  EXPECT_EQ(call("bert"), std::nullopt);
  EXPECT_EQ(call("anna"), Refusal::kPeerQuota);
}

// The last of all calls may be anybody's.
TEST(CallCaps, WhoTakesTheLastPlaceKeepsIt) {
  AdmissionCounters counters;
  CallCaps caps({.calls = 1, .calls_per_peer = 1}, &counters);
  absl::StatusOr<CallCaps::Pass> pass = caps.Begin(Connection(1, 1), kStart);
  ASSERT_TRUE(pass.ok());
  EXPECT_TRUE(pass->Identify("anna", kStart).ok());
}

// ------------------------------------------------------------------------------------- over time

TEST(CallCaps, StartsAreRationedByPeer) {
  AdmissionCounters counters;
  CallCaps caps({.starts_per_second = 10}, &counters);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(caps.Begin("ipv4:10.0.0.1:1", kStart).ok()) << i;
  EXPECT_EQ(RefusalOf(caps.Begin("ipv4:10.0.0.1:2", kStart)), Refusal::kPeerQuota);
  EXPECT_TRUE(caps.Begin("ipv4:10.0.0.2:1", kStart).ok());
  EXPECT_TRUE(caps.Begin("ipv4:10.0.0.1:1", kStart + milliseconds(100)).ok());
  EXPECT_FALSE(caps.Begin("ipv4:10.0.0.1:1", kStart + milliseconds(100)).ok());
  EXPECT_TRUE(caps.Begin("ipv4:10.0.0.1:1", kStart + seconds(100)).ok());
}

TEST(CallCaps, BreakingCallsOffAndCallingWithoutATokenCostMore) {
  for (const bool token : {true, false}) {
    AdmissionCounters counters;
    CallCaps caps({.starts_per_second = 1000}, &counters);
    int begun = 0;
    for (; begun < 1000; ++begun) {
      absl::StatusOr<CallCaps::Pass> pass = caps.Begin("ipv4:10.0.0.1:1", kStart);
      if (!pass.ok()) break;
      token ? pass->BrokenOff() : pass->Unauthenticated();
    }
    EXPECT_EQ(begun, 10) << token;
  }
}

// One process gives up 2000 calls a second, on and on; another one behind the same address makes
// 100, and is never refused one.
TEST(CallCaps, WhoGivesUpCallsDoesNotRefuseTheNeighbours) {
  for (const bool known : {false, true}) {
    AdmissionCounters counters;
    CallCaps caps({}, &counters);
    int refused = 0;
    for (int ms = 0; ms < 10'000; ++ms) {
      const Instant now = kStart + milliseconds(ms);
      for (int i = 0; i < 2; ++i) {
        absl::StatusOr<CallCaps::Pass> pass = caps.Begin("ipv4:10.0.0.1:1", now);
        if (!pass.ok()) {
          ++refused;
          continue;
        }
        EXPECT_TRUE(pass->Identify(known ? "the crashing job" : "", now).ok());
        pass->BrokenOff();
      }
      if (ms % 10 != 0) continue;
      absl::StatusOr<CallCaps::Pass> pass = caps.Begin("ipv4:10.0.0.1:2", now);
      ASSERT_TRUE(pass.ok()) << ms << pass.status();
      ASSERT_TRUE(pass->Identify(known ? "the other" : "", now).ok());
    }
    EXPECT_GT(refused, 10'000) << "of 20,000; as many as before would be";
  }
}

// A new connection finds its address in debt, and comes in nevertheless.
TEST(CallCaps, NewcomersComeInWhereNeighboursGiveUpCalls) {
  AdmissionCounters counters;
  CallCaps caps({}, &counters);
  const auto begin = [&](const char* name) { return caps.Begin(name, kStart); };
  for (int i = 0; i < 2000; ++i) {
    absl::StatusOr<CallCaps::Pass> pass = begin("ipv4:10.0.0.1:1");
    if (pass.ok()) pass->BrokenOff();
  }
  EXPECT_FALSE(begin("ipv4:10.0.0.1:1").ok());
  EXPECT_TRUE(begin("ipv4:10.0.0.1:2").ok());
}

// Connections without a token behind an address take nothing from a caller who is known.
TEST(CallCaps, FloodsWithoutATokenDoNotRefuseWhoIsKnown) {
  AdmissionCounters counters;
  CallCaps caps({}, &counters);
  std::vector<std::string> told;
  caps.TellOffenders([&](std::string_view name) { told.emplace_back(name); });
  int refused = 0;
  for (int ms = 0; ms < 2000; ++ms) {
    const Instant now = kStart + milliseconds(ms);
    for (int i = 0; i < 10; ++i) {
      absl::StatusOr<CallCaps::Pass> pass = caps.Begin("ipv4:10.0.0.1:1", now);
      if (pass.ok()) pass->Unauthenticated();
      refused += pass.ok() ? 0 : 1;
    }
    absl::StatusOr<CallCaps::Pass> pass = caps.Begin("ipv4:10.0.0.1:2", now);
    ASSERT_TRUE(pass.ok()) << ms;
    ASSERT_TRUE(pass->Identify("anna", now).ok());
  }
  EXPECT_GT(refused, 18'000);
  EXPECT_THAT(told, ::testing::Each("ipv4:10.0.0.1:1"));
  EXPECT_EQ(told.size(), 2u) << "once a second";
}

TEST(CallCaps, ConnectionsThatGoOnAndOnAreToldOfOnce) {
  AdmissionCounters counters;
  CallCaps caps({.calls_per_connection = 0}, &counters);
  std::vector<std::string> told;
  caps.TellOffenders([&](std::string_view name) { told.emplace_back(name); });
  const auto turn_away = [&](const char* name, int64_t times, Instant now) {
    for (int64_t i = 0; i < times; ++i) EXPECT_FALSE(caps.Begin(name, now).ok());
  };
  turn_away("unix:0:1", CallCaps::kMostRefused, kStart);
  turn_away("ipv4:10.0.0.1:2", CallCaps::kMostRefused, kStart + milliseconds(999));
  EXPECT_TRUE(told.empty());
  turn_away("unix:0:1", 500, kStart + milliseconds(999));
  EXPECT_EQ(told, std::vector<std::string>{"unix:0:1"});
  turn_away("ipv4:10.0.0.1:2", 1, kStart + seconds(2));  // another period
  EXPECT_EQ(told.size(), 1u);
}

TEST(CallCaps, OnlyQuotasOfThePeerMakeOffenders) {
  AdmissionCounters counters;
  CallCaps caps({.calls = 0}, &counters);
  int told = 0;
  caps.TellOffenders([&](std::string_view) { ++told; });
  for (int64_t i = 0; i < 2 * CallCaps::kMostRefused; ++i) {
    EXPECT_FALSE(caps.Begin("ipv4:10.0.0.1:1", kStart).ok());
  }
  EXPECT_EQ(told, 0);
}

// --------------------------------------------------------------------------------- through a proxy

TEST(CallCaps, ThroughAProxyTheAddressIsWhoItForwards) {
  AdmissionCounters counters;
  CallCaps caps({.calls_per_peer = 3, .calls_per_connection = 2}, &counters);
  caps.Trust(*TrustedProxies::Parse("10.0.0.1"));
  int told = 0;
  caps.TellOffenders([&](std::string_view) { ++told; });
  std::vector<CallCaps::Pass> passes;
  const auto call = [&](const char* proxy, const char* forwarded) {
    absl::StatusOr<CallCaps::Pass> pass = caps.Begin(proxy, kStart, forwarded);
    if (pass.ok()) passes.push_back(*std::move(pass));
    return RefusalOf(pass);
  };
  constexpr char kProxy[] = "ipv4:10.0.0.1:1";
  EXPECT_EQ(call(kProxy, "1.1.1.1"), std::nullopt);
  EXPECT_EQ(call(kProxy, "1.1.1.1"), std::nullopt);
  EXPECT_EQ(call(kProxy, "1.1.1.1"), Refusal::kPeerQuota);  // 2 through one connection
  EXPECT_EQ(call(kProxy, "2.2.2.2"), std::nullopt);
  EXPECT_EQ(call("ipv4:10.0.0.1:2", "1.1.1.1"), std::nullopt);
  EXPECT_EQ(call("ipv4:10.0.0.1:3", "1.1.1.1"), Refusal::kPeerQuota);  // 3 in all
  for (int i = 0; i < 2000; ++i) call(kProxy, "1.1.1.1");
  EXPECT_EQ(told, 0) << "others come through the same connection";
  EXPECT_EQ(call("ipv4:10.0.0.2:1", "3.3.3.3"), std::nullopt);
  EXPECT_EQ(call("ipv4:10.0.0.2:1", "4.4.4.4"), std::nullopt);
  EXPECT_EQ(call("ipv4:10.0.0.2:1", "5.5.5.5"), Refusal::kPeerQuota) << "not believed";
}

// Ten thousand addresses through one connection are forgotten when they have no call.
TEST(CallCaps, ForgetsWhoHasNoCall) {
  AdmissionCounters counters;
  Ledger ledger({});
  const auto account = ledger.Open("ipv4:10.0.0.1:1");
  CallCaps caps({}, &counters, &ledger);
  caps.Trust(*TrustedProxies::Parse("10.0.0.1"));
  for (int i = 0; i < 10'000; ++i) {
    const std::string client = absl::StrFormat("2001:db8:0:%x::1", i);
    EXPECT_TRUE(caps.Begin("ipv4:10.0.0.1:1", kStart, client).ok());
  }
  EXPECT_LT(caps.remembered(), 5000u);
}

}  // namespace
}  // namespace lossd
