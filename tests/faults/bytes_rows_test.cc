// Rows 70 to 73 and 84 to 86: what a connection may bring that no call explains; over plaintext
// TCP, over TLS without the token that is asked for, and over a Unix socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/besieged.h"
#include "tests/faults/http2.h"
#include "tests/faults/line.h"
#include "tests/faults/proc.h"

namespace lossd {
namespace {

class ByteRows : public ::testing::TestWithParam<Door> {};
INSTANTIATE_TEST_SUITE_P(Doors, ByteRows, ::testing::Values(Door::kPlain, Door::kTls, Door::kUnix),
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
TEST_P(ByteRows, Row70_AHeaderWithoutEnd) {
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

// Fields of one byte each: references to an entry of the header table that is named once. gRPC
// limits what they stand for in a frame, not in a block, and keeps 67 bytes and more for each.
TEST_P(ByteRows, Row84_FieldsOfOneByte) {
  Besieged besieged(GetParam());
  http2::Fields entry = {{"x", ""}};
  std::string first = http2::Literals(entry);
  first[0] = '\x40';  // a literal that the table keeps (RFC 7541, 6.2.1)
  const std::string frame = http2::Bytes(http2::kContinuation, 0, 1, std::string(240, '\xbe'));
  std::string piece;
  while (piece.size() < 16384) piece += frame;
  int64_t sent = 0;
  std::vector<std::unique_ptr<Line>> lines;
  for (int peer = 2; peer < 10; ++peer) {
    lines.push_back(besieged.Attack(peer));
    const std::string fields = http2::Literals(http2::CallFields(kCompute)) + first;
    lines.back()->Send(Greeting() + http2::Bytes(http2::kHeaders, 0, 1, fields));
    sent += SendUntilClosed(*lines.back(), piece, 2 * kMiB);
  }
  besieged.AwaitCalls(2);
  const int64_t grown = besieged.grown_bytes();
  std::printf("  %ld KiB were taken; +%ld MiB of memory\n", static_cast<long>(sent >> 10),
              static_cast<long>(grown / kMiB));
  EXPECT_LT(grown, 48 * kMiB);
}

// Calls whose headers have as many such fields as they may, and whose messages never come. Once
// they are given up, their memory goes back to the system although others go on calling.
TEST(ByteRow, Row85_MemoryGoesBackWhileOthersCall) {
  Besieged besieged(Door::kPlain);
  std::vector<std::unique_ptr<Line>> lines;
  std::string entry = http2::Literals({{"x", ""}});
  entry[0] = '\x40';
  for (int peer = 2; peer < 10; ++peer) {
    lines.push_back(besieged.Attack(peer));
    lines.back()->Send(Greeting());
    for (uint32_t stream = 1; stream < 800; stream += 2) {
      const std::string fields = http2::Literals(http2::CallFields(kCompute)) + entry;
      lines.back()->Send(http2::Bytes(http2::kHeaders, 0, stream, fields));
      for (const uint8_t flags : {http2::kNone, http2::kEndHeaders}) {
        lines.back()->Send(
            http2::Bytes(http2::kContinuation, flags, stream, std::string(240, '\xbe')));
      }
    }
  }
  int64_t peak = 0;
  const auto grown = [&] {
    const int64_t now = besieged.grown_bytes();
    peak = std::max(peak, now);
    return now;
  };
  HoldsWithin(absl::Seconds(5), [&] { return grown() > 96 * kMiB; });
  EXPECT_TRUE(HoldsWithin(absl::Seconds(30), [&] { return grown() < 72 * kMiB; }));
  std::printf("  at most +%ld MiB of memory, in the end +%ld MiB\n", static_cast<long>(peak / kMiB),
              static_cast<long>(grown() / kMiB));
  EXPECT_GT(peak, 96 * kMiB) << "the attack held nothing";
}

// Streams of four connections that heed no limit, faster than gRPC shows calls.
TEST_P(ByteRows, Row86_StreamsFasterThanCalls) {
  for (const bool given_up : {false, true}) {
    Besieged besieged(GetParam());
    std::vector<std::thread> senders;
    std::atomic<int64_t> sent = 0;
    for (int peer = 2; peer < 6; ++peer) {
      senders.emplace_back([&, line = besieged.Attack(peer)]() mutable {
        line->Send(Greeting());
        for (uint32_t stream = 1; stream < 400'000 && line->open();) {
          std::string burst;
          for (int i = 0; i < 500; ++i, stream += 2) {
            burst += Call(stream, kCompute) + (given_up ? GivenUp(stream) : "");
          }
          if (line->Send(burst)) sent += 500;
        }
      });
    }
    for (std::thread& sender : senders) sender.join();
    const int64_t grown = besieged.grown_bytes();
    std::printf("  %ld streams were sent; +%ld MiB of memory\n", static_cast<long>(sent),
                static_cast<long>(grown / kMiB));
    EXPECT_LT(grown, 128 * kMiB);
    besieged.AwaitCalls(5);
  }
}

// The name of one header, of a length that never comes to its end.
TEST_P(ByteRows, Row71_ANameWithoutEnd) {
  Besieged besieged(GetParam());
  const auto line = besieged.Attack();
  const std::string start = std::string("\x10\x7f", 2) + std::string("\x81\xff\xff\xff\x03", 5);
  line->Send(Greeting() + http2::Bytes(http2::kHeaders, 0, 1, start));
  ExpectCutOff(besieged, *line, http2::Bytes(http2::kContinuation, 0, 1, std::string(16384, 'a')));
}

// Frames that are no calls: of a type that nobody knows, and settings, which are answered.
TEST_P(ByteRows, Row72_FramesThatAreNoCalls) {
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

// Of a message that becomes larger than its call may have, so much more may come before the call is
// told why it ends (LedgerLimits::overrun); of a health check nothing may.
TEST_P(ByteRows, Row73_AMessageOfFourGiB) {
  constexpr int64_t kOverrun = 48 * kMiB;
  for (const char* path : {kCompute, kCheck}) {
    Besieged besieged(GetParam());
    const auto line = besieged.Attack();
    const int64_t sent = LargeMessage(*line, path).Send(128 * kMiB);
    std::printf("  %s: %ld KiB were taken; +%ld MiB of memory\n", path,
                static_cast<long>(sent >> 10), static_cast<long>(besieged.grown_bytes() >> 20));
    EXPECT_LT(sent, kMostTaken + (path == kCompute ? kOverrun : 0)) << path;
  }
}

// ---------------------------------------------------------------------- calls beyond all quotas

}  // namespace
}  // namespace lossd
