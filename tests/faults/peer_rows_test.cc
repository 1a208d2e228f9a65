// Rows 70 to 77: who is a peer, what a connection may bring that no call explains, and how many
// places one address gets; over plaintext TCP, over TLS without the token that is asked for, and
// over a Unix socket.
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
#include "tests/faults/http2.h"
#include "tests/faults/line.h"
#include "tests/faults/proc.h"
#include "tests/faults/sentinel.h"
#include "tests/lossctl/scratch.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"

namespace lossd {
namespace {

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";
constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kToken[] = "0123456789abcdef0123456789abcdef";
constexpr int64_t kMiB = 1 << 20;

std::string Call(uint32_t stream, const char* path, const http2::Fields& more = {}) {
  http2::Fields fields = http2::CallFields(path);
  fields.insert(fields.end(), more.begin(), more.end());
  return http2::Bytes(http2::kHeaders, http2::kEndHeaders, stream, http2::Literals(fields));
}

std::string GivenUp(uint32_t stream) {
  return http2::Bytes(http2::kReset, 0, stream, http2::Number(8));
}

std::string Greeting() {
  return absl::StrCat(http2::kPreface, http2::Settings({{http2::kHeaderTableSize, 0}}));
}

enum class Door { kPlain, kTls, kUnix };

const char* NameOf(Door door) {
  return door == Door::kPlain ? "Plain" : door == Door::kTls ? "TlsWithoutToken" : "UnixSocket";
}

// A server, and a victim who goes on calling it from 127.0.0.1, each call tried once.
class Besieged {
 public:
  explicit Besieged(Door door, std::vector<std::string> flags = {}) : door_(door) {
    signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to what the server has closed
    flags.emplace_back("--log-level=error");
    ClientOptions options;
    if (door == Door::kTls) {
      const Authority authority("servers");
      const Identity identity = authority.Sign(1);
      flags.push_back("--tls-cert=" + scratch_.Write("cert.pem", identity.certificate));
      flags.push_back("--tls-key=" + scratch_.Write("key.pem", identity.key));
      flags.push_back("--auth-token-file=" + scratch_.Write("tokens", kToken));
      options.token = kToken;
      options.tls = TlsOptions{.ca_file = scratch_.Write("ca.pem", authority.certificate())};
    }
    server_.emplace(std::vector<std::string>{"127.0.0.1:0", "unix:" + scratch_.Path("socket")},
                    flags);
    options_ = options;
    base_ = StateOf(pid());
    victim_ = std::thread([this] { Victim(); });
    HoldsWithin(absl::Seconds(10), [this] { return calls_ > 5; });
  }

  ~Besieged() {
    stop_ = true;
    victim_.join();
    EXPECT_EQ(failed_, 0) << "the victim's first failure: " << failure_;
    EXPECT_GT(calls_, 5);
    EXPECT_GT(StateOf(pid()).rss_bytes, 0) << "the server is gone";
    EXPECT_TRUE(NewcomerIsServed().ok());
  }

  // A connection of an attacker, from 127.0.0.`peer` where it is TCP.
  std::unique_ptr<Line> Attack(int peer = 2) const {
    const std::string& address = server_->addresses()[door_ == Door::kUnix ? 1 : 0];
    return std::make_unique<Line>(address, peer, door_ == Door::kTls ? tls_.get() : nullptr);
  }
  std::unique_ptr<Line> Plain(int peer) const {
    return std::make_unique<Line>(server_->addresses()[0], peer, nullptr);
  }

  absl::Status NewcomerIsServed() const {
    absl::StatusOr<Client> client = Client::Connect(server_->addresses()[0], options_);
    if (!client.ok()) return client.status();
    return call_.Try(*client, TransferMode::kUnary, absl::Seconds(4));
  }

  void AwaitCalls(int count) {
    const int until = calls_ + count;
    HoldsWithin(absl::Seconds(20), [&] { return calls_ >= until; });
  }

  int64_t grown_bytes() const { return StateOf(pid()).rss_bytes - base_.rss_bytes; }
  int failed() const { return failed_; }

 private:
  pid_t pid() const { return server_->process().pid(); }

  void Victim() {
    Client client = *Client::Connect(server_->addresses()[0], options_);
    while (!stop_) {
      const absl::Status status = call_.Try(client, TransferMode::kUnary);
      if (!status.ok() && failed_++ == 0) failure_ = status.ToString();
      ++calls_;
    }
  }

  const Door door_;
  const lossctl::Scratch scratch_;
  const TlsContext tls_ = ClientTls();
  const KnownCall call_{16, 40};
  mutable std::optional<ServerProcess> server_;
  ClientOptions options_;
  ProcessState base_;
  std::atomic<bool> stop_{false};
  std::atomic<int> calls_{0};
  std::atomic<int> failed_{0};
  std::string failure_;
  std::thread victim_;
};

// Bytes that went until the server closed the connection; `most` where it did not.
int64_t SendUntilClosed(Line& line, const std::string& piece, int64_t most) {
  int64_t sent = 0;
  while (sent < most && line.Send(piece)) {
    sent += static_cast<int64_t>(piece.size());
    line.Read(absl::ZeroDuration());
  }
  return sent;
}

class PeerRows : public ::testing::TestWithParam<Door> {};
INSTANTIATE_TEST_SUITE_P(Doors, PeerRows, ::testing::Values(Door::kPlain, Door::kTls, Door::kUnix),
                         [](const auto& info) { return NameOf(info.param); });

// ---------------------------------------------------------------- what no call explains

// What is on its way in the system's buffers comes on top of what the server takes.
constexpr int64_t kMostTaken = 32 * kMiB;
constexpr int64_t kFlood = 48 * kMiB;

void ExpectCutOff(Besieged& besieged, Line& line, const std::string& piece) {
  const int64_t sent = SendUntilClosed(line, piece, kFlood);
  const int64_t grown = besieged.grown_bytes();
  std::printf("  %ld KiB were taken; +%ld MiB of memory\n", static_cast<long>(sent >> 10),
              static_cast<long>(grown >> 20));
  EXPECT_LT(sent, kMostTaken);
  besieged.AwaitCalls(5);
}

// Headers whose end never comes, each frame a few that are whole: gRPC keeps all of them.
TEST_P(PeerRows, Row70_AHeaderWithoutEnd) {
  Besieged besieged(GetParam());
  const auto line = besieged.Attack();
  std::string some;
  for (int i = 0; i < 150; ++i) some += std::string("\0\1x\1y", 5);
  std::string piece;
  for (int i = 0; i < 20; ++i) piece += http2::Bytes(http2::kContinuation, 0, 1, some);
  line->Send(Greeting() +
             http2::Bytes(http2::kHeaders, 0, 1, http2::Literals(http2::CallFields(kCheck))));
  ExpectCutOff(besieged, *line, piece);
}

// The name of one header, of a length that never comes to its end.
TEST_P(PeerRows, Row71_ANameWithoutEnd) {
  Besieged besieged(GetParam());
  const auto line = besieged.Attack();
  const std::string start = std::string("\x10\x7f", 2) + std::string("\x81\xff\xff\xff\x03", 5);
  line->Send(Greeting() + http2::Bytes(http2::kHeaders, 0, 1, start));
  ExpectCutOff(besieged, *line, http2::Bytes(http2::kContinuation, 0, 1, std::string(16384, 'a')));
}

// Frames that are no calls: of a type that nobody knows, and settings, which are answered.
TEST_P(PeerRows, Row72_FramesThatAreNoCalls) {
  for (const std::string& frame : {http2::Bytes(0x77, 0, 0, std::string(16384, 'a')),
                                   http2::Settings({{http2::kInitialWindowSize, 65535}})}) {
    Besieged besieged(GetParam());
    const auto line = besieged.Attack();
    line->Send(Greeting());
    std::string piece = frame;
    while (piece.size() < 16384) piece += frame;
    ExpectCutOff(besieged, *line, piece);
  }
}

// A message that says it has 4 GiB, sent as the windows allow.
class LargeMessage {
 public:
  LargeMessage(Line& line, const char* path) : line_(line) {
    line_.Send(Greeting() + Call(1, path, {{"loss-bytes", "1000"}}));
  }

  // Bytes of it that went until the server closed the connection or ended the call.
  int64_t Send(int64_t most) {
    std::string next = http2::MessagePrefix(0xffffffff);
    while (sent_ < most && line_.open() && !ended_) {
      next.resize(std::clamp<int64_t>(std::min(connection_, stream_), 0, 16384), 'a');
      if (!next.empty()) line_.Send(http2::Bytes(http2::kData, 0, 1, next));
      sent_ += static_cast<int64_t>(next.size());
      connection_ -= static_cast<int64_t>(next.size());
      stream_ -= static_cast<int64_t>(next.size());
      Look(next.empty() ? absl::Seconds(1) : absl::ZeroDuration());
      next.clear();
    }
    return sent_;
  }

 private:
  void Look(absl::Duration patience) {
    buffer_ += line_.Read(patience);
    for (;;) {
      const size_t length =
          buffer_.size() < 9 ? 0 : http2::NumberAt(std::string(1, 0) + buffer_.substr(0, 3), 0);
      if (buffer_.size() < 9 + length) return;
      const auto type = static_cast<uint8_t>(buffer_[3]);
      const uint32_t stream = http2::NumberAt(buffer_, 5);
      if (type == http2::kWindowUpdate) {
        (stream == 0 ? connection_ : stream_) += http2::NumberAt(buffer_, 9);
      } else if (type == http2::kSettings && buffer_[4] == 0) {
        for (size_t at = 9; at < 9 + length; at += 6) {
          if (buffer_[at + 1] != http2::kInitialWindowSize) continue;
          stream_ += int64_t{http2::NumberAt(buffer_, at + 2)} - initial_;
          initial_ = http2::NumberAt(buffer_, at + 2);
        }
        line_.Send(http2::Bytes(http2::kSettings, http2::kAck, 0, ""));
      } else if (type == http2::kReset || type == http2::kHeaders || type == http2::kGoAway) {
        ended_ = true;
      }
      buffer_.erase(0, 9 + length);
    }
  }

  Line& line_;
  std::string buffer_;
  int64_t sent_ = 0;
  int64_t connection_ = 65535;
  int64_t stream_ = 65535;
  int64_t initial_ = 65535;
  bool ended_ = false;
};

// Of a call that told how large it is, and of a health check, nothing more may come.
TEST_P(PeerRows, Row73_AMessageOfFourGiB) {
  for (const char* path : {kCompute, kCheck}) {
    Besieged besieged(GetParam());
    const auto line = besieged.Attack();
    const int64_t sent = LargeMessage(*line, path).Send(128 * kMiB);
    std::printf("  %s: %ld KiB were taken; +%ld MiB of memory\n", path,
                static_cast<long>(sent >> 10), static_cast<long>(besieged.grown_bytes() >> 20));
    EXPECT_LT(sent, kMostTaken) << path;
  }
}

// ---------------------------------------------------------------------- calls beyond all quotas

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
