// Rows 74 to 78: who is a peer, and how many places one address gets; over plaintext TCP, over TLS
// without the token that is asked for, and over a Unix socket.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/besieged.h"
#include "tests/faults/http2.h"
#include "tests/faults/line.h"
#include "tests/faults/proc.h"
#include "tests/faults/sentinel.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

class PeerRows : public ::testing::TestWithParam<Door> {};
INSTANTIATE_TEST_SUITE_P(Doors, PeerRows, ::testing::Values(Door::kPlain, Door::kTls, Door::kUnix),
                         [](const auto& info) { return NameOf(info.param); });

// Calls that are given up as they begin, on and on, and nobody reads the answers.
TEST_P(PeerRows, Row74_AConnectionThatGoesOnIsBroken) {
  Besieged besieged(GetParam());
  const auto line = besieged.Attack();
  line->Send(Greeting());
  uint32_t stream = 1;
  const absl::Time until = absl::Now() + absl::Seconds(10);
  while (line->open() && absl::Now() < until) {
    std::string piece;
    for (int i = 0; i < 100; ++i, stream += 2) piece += Call(stream, kCompute) + GivenUp(stream);
    line->Send(piece);
    line->Read(absl::ZeroDuration());
  }
  std::printf("  %u calls until it was broken\n", stream / 2);
  EXPECT_FALSE(line->open());
  besieged.AwaitCalls(5);
}

// ------------------------------------------------------------------------------ one's neighbours

// A process behind the victim's own address gives up 2000 calls a second.
TEST(PeerRow, Row75_ANeighbourThatGivesUpCalls) {
  Besieged besieged(Door::kPlain);
  std::unique_ptr<Line> line;
  uint32_t stream = 1;
  const absl::Time begun = absl::Now();
  for (int burst = 0; burst < 100; ++burst) {
    if (line == nullptr || !line->open()) {
      line = besieged.Plain(1);
      line->Send(Greeting());
      stream = 1;
    }
    std::string piece;
    for (int i = 0; i < 60; ++i, stream += 2) piece += Call(stream, kCompute) + GivenUp(stream);
    line->Send(piece);
    while (absl::Now() < begun + burst * absl::Milliseconds(30)) line->Read(absl::Milliseconds(1));
  }
}

// --------------------------------------------------------------------------------------- places

// More connections of one address than there are places; then, of more than shake hands.
TEST(PeerRow, Row76_OneAddressWantsAllConnections) {
  for (const Door door : {Door::kPlain, Door::kTls}) {
    Besieged besieged(door, {"--max-connections=64", "--handshake-timeout=1m"});
    std::vector<std::unique_ptr<Line>> lines;
    for (int i = 0; i < 70; ++i) {
      lines.push_back(besieged.Plain(2));
      // A greeting, or the first byte of TLS and nothing more.
      lines.back()->Send(door == Door::kPlain ? Greeting() : std::string(1, '\x16'));
    }
    besieged.AwaitCalls(5);
    for (int i = 0; i < 3; ++i) {
      const absl::Status served = besieged.NewcomerIsServed();
      EXPECT_TRUE(served.ok()) << NameOf(door) << served;
    }
  }
}

// Two addresses have calls waiting, as many as they may, and send nothing.
TEST(PeerRow, Row77_TwoAddressesWantAllCalls) {
  Besieged besieged(Door::kPlain);
  std::vector<std::unique_ptr<Line>> lines;
  for (int i = 0; i < 12; ++i) {
    lines.push_back(besieged.Plain(2 + i % 2));
    std::string calls = Greeting();
    for (uint32_t stream = 1; stream < 200; stream += 2) calls += Call(stream, kStream);
    lines.back()->Send(calls);
  }
  besieged.AwaitCalls(100);
}

// What one client of a trusted proxy does is not done by the others, nor by the proxy.
TEST(PeerRow, Row78_ClientsOfAProxyArePeersOfTheirOwn) {
  Besieged besieged(Door::kPlain, {"--trusted-proxies=127.0.0.9", "--max-connections=64"});
  std::vector<std::unique_ptr<Line>> lines;
  for (int i = 0; i < 70; ++i) {
    lines.push_back(besieged.Plain(9));
    lines.back()->Send("PROXY TCP4 1.1.1.1 2.2.2.2 80 443\r\n" + Greeting());
  }
  const auto other = besieged.Plain(9);
  other->Send("PROXY TCP4 3.3.3.3 2.2.2.2 80 443\r\n" + Greeting() + Call(1, "/no/method"));
  std::string answer;
  while (other->open() && answer.find("grpc-status") == std::string::npos) {
    answer += other->Read(absl::Seconds(5));
  }
  EXPECT_NE(answer.find("grpc-status"), std::string::npos);
  const auto untrusted = besieged.Plain(3);
  untrusted->Send("PROXY TCP4 3.3.3.3 2.2.2.2 80 443\r\n" + Greeting());
  EXPECT_TRUE(HoldsWithin(absl::Seconds(10), [&] {
    untrusted->Read(absl::Milliseconds(10));
    return !untrusted->open();
  }));
}

}  // namespace
}  // namespace lossd
