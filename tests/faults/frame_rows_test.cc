// Rows 80 to 83: single frames of HTTP/2, right by themselves, that make a server work or remember
// more than it was sent: messages in pieces of one byte, frames that make the server itself reset a
// call, headers that refer to headers, and paths that are none.
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using testing::Problem;

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";
constexpr int64_t kMostGrown = 48 << 20;  // of memory, whatever one connection sends
constexpr absl::Duration kAttack = absl::Milliseconds(1500);

std::string Times(int64_t n, const std::string& bytes) {
  std::string all;
  all.reserve(n * bytes.size());
  for (int64_t i = 0; i < n; ++i) all += bytes;
  return all;
}

// How much a peer lets be sent on stream 1, as it says in what is read.
class Windows {
 public:
  int64_t left() const { return std::min(stream_, connection_); }
  void Take(int64_t bytes) {
    stream_ -= bytes;
    connection_ -= bytes;
  }
  void Note(const http2::Frame& frame) {
    if (frame.type == http2::kWindowUpdate) {
      (frame.stream == 0 ? connection_ : stream_) += http2::NumberAt(frame.payload, 0);
    } else if (frame.type == http2::kSettings && (frame.flags & http2::kAck) == 0) {
      for (size_t at = 0; at + 6 <= frame.payload.size(); at += 6) {
        if (frame.payload[at + 1] != http2::kInitialWindowSize) continue;
        const int64_t initial = http2::NumberAt(frame.payload, at + 2);
        stream_ += initial - std::exchange(initial_, initial);
      }
    }
  }

 private:
  int64_t initial_ = 65535;
  int64_t stream_ = initial_;
  int64_t connection_ = initial_;
};

class FrameRows : public Row {
 protected:
  RawClient Greeted() const {
    RawClient client(address());
    client.Greet();
    return client;
  }

  void Report(const char* name, int64_t sent, const RawClient& client) {
    std::printf("  %s: %ld KiB sent; then \"%s\"; at most +%ld KiB; CPU %s; victim's slowest %s\n",
                name, static_cast<long>(sent >> 10), client.what().c_str(),
                static_cast<long>(peak_ >> 10),
                absl::FormatDuration(StateOf(pid()).cpu - cpu_).c_str(),
                absl::FormatDuration(sentinel().slowest()).c_str());
  }

  // Sends `burst` of growing numbers until the server ends the connection or time is up. Returns
  // the bytes sent.
  int64_t Flood(RawClient& client, const std::function<std::string(uint32_t)>& burst) {
    int64_t sent = 0;
    cpu_ = StateOf(pid()).cpu;
    const absl::Time until = absl::Now() + kAttack;
    for (uint32_t i = 0; absl::Now() < until && client.what().empty(); ++i) {
      const std::string bytes = burst(i);
      if (!client.Send(bytes, 1)) break;
      sent += static_cast<int64_t>(bytes.size());
      while (client.Read(0)) {
      }
      Look();
    }
    return sent;
  }

  void Look() { peak_ = std::max(peak_, sentinel().grown_bytes()); }

  absl::Duration cpu_ = absl::ZeroDuration();
  int64_t peak_ = 0;
};

// ------------------------------------------------------------------------- pieces of one byte

class OneByteFrames : public FrameRows, public ::testing::WithParamInterface<const char*> {};

// A message of 64 MiB, a byte in a frame: ten bytes on the wire for one. gRPC keeps 32 bytes for
// each piece of a message, in a list that doubles as it grows, and no quota of it counts them: 40
// bytes of memory for each byte of the message, 2.6 GiB in all. The account of the connection ends
// it.
TEST_P(OneByteFrames, Row80) {
  Serve();
  RawClient client(address());
  client.Greet(1 << 20, /*ack=*/false);
  client.Send(http2::Bytes(http2::kSettings, http2::kAck, 0, ""));
  client.Open(1, GetParam());
  client.SendData(1, http2::MessagePrefix((64 << 20) - 1024));
  Windows windows;
  windows.Take(5);
  const std::string piece = http2::Bytes(http2::kData, http2::kNone, 1, "x");
  int64_t payload = 0;
  cpu_ = StateOf(pid()).cpu;
  constexpr int64_t kMost = (64 << 20) - 2048;
  const absl::Time until = absl::Now() + 2 * kAttack;
  while (payload < kMost && absl::Now() < until && client.what().empty() && !client.Status(1, 0)) {
    const int64_t count = std::min<int64_t>(windows.left(), 6000);
    if (count > 0 && !client.Send(Times(count, piece), 1)) break;
    windows.Take(count);
    payload += count;
    while (const auto frame = client.Read(count > 0 ? 0 : 0.1)) windows.Note(*frame);
    Look();
  }
  Report(GetParam(), payload * 10, client);
  std::printf("  %ld KiB of payload: %.1f bytes of memory for each\n",
              static_cast<long>(payload >> 10), static_cast<double>(peak_) / payload);
  EXPECT_LT(peak_, kMostGrown);
  sentinel().AwaitCalls(2);
}
INSTANTIATE_TEST_SUITE_P(Both, OneByteFrames, ::testing::Values(kCompute, kStream),
                         [](const auto& info) { return info.index == 0 ? "Unary" : "Stream"; });

// ------------------------------------------------------------------------ resets by the server

struct Provocation {
  const char* name;
  std::function<std::string(uint32_t stream)> frames;  // after the header of a call
  uint8_t flags = http2::kEndHeaders;
};

// MadeYouReset (CVE-2025-8671): calls are begun, and the server is made to reset them, so that they
// no longer count as open, while what they began may go on. gRPC 1.51 ends the whole connection
// instead, and with it its calls; a frame that is too long it skips, until the account ends it.
class MadeYouReset : public FrameRows, public ::testing::WithParamInterface<Provocation> {};

TEST_P(MadeYouReset, Row81) {
  Serve();
  const std::string request = http2::Message(Problem(64, 1000).Request().SerializeAsString());
  ASSERT_GT(request.size(), 16 << 10);
  for (const char* path : {kCompute, kStream}) {
    RawClient client = Greeted();
    int64_t calls = 0;
    const int64_t sent = Flood(client, [&](uint32_t i) {
      std::string burst;
      for (uint32_t k = 0; k < 20; ++k, ++calls) {
        const uint32_t stream = 2 * (20 * i + k) + 1;
        burst += http2::Bytes(http2::kHeaders, GetParam().flags, stream,
                              http2::Literals(http2::CallFields(path))) +
                 GetParam().frames(stream);
      }
      return burst;
    });
    Report(path, sent, client);
    std::printf("  %ld calls\n", static_cast<long>(calls));
    EXPECT_LT(peak_, kMostGrown);
  }
  sentinel().AwaitCalls(2);
}

INSTANTIATE_TEST_SUITE_P(
    All, MadeYouReset,
    ::testing::Values(
        Provocation{"WindowUpdateOfZero",
                    [](uint32_t stream) {
                      return http2::Bytes(http2::kWindowUpdate, 0, stream, http2::Number(0));
                    }},
        Provocation{"WindowTooLarge",
                    [](uint32_t stream) {
                      return Times(2, http2::Bytes(http2::kWindowUpdate, 0, stream,
                                                   http2::Number(0x7fffffff)));
                    }},
        Provocation{"DataAfterTheEnd",
                    [](uint32_t stream) {
                      return http2::Bytes(http2::kData, http2::kEndStream, stream,
                                          http2::Message("")) +
                             http2::Bytes(http2::kData, 0, stream, "x");
                    }},
        Provocation{"HeadersAfterTheEnd",
                    [](uint32_t stream) {
                      return http2::Bytes(http2::kHeaders, http2::kEndHeaders | http2::kEndStream,
                                          stream, http2::Literals({{"x", "y"}}));
                    },
                    http2::kEndHeaders | http2::kEndStream},
        Provocation{"PriorityOfItself",
                    [](uint32_t stream) {
                      return http2::Bytes(http2::kPriority, 0, stream,
                                          http2::Number(stream) + std::string(1, '\x10'));
                    }},
        Provocation{"PriorityTooShort",
                    [](uint32_t stream) { return http2::Bytes(http2::kPriority, 0, stream, "x"); }},
        Provocation{"FrameTooLong",
                    [](uint32_t stream) {
                      return http2::Bytes(http2::kData, 0, stream, std::string(2 << 20, 'x'));
                    }}),
    [](const auto& info) { return info.param.name; });

// ----------------------------------------------------------------------------- bombs of headers

struct Bomb {
  const char* name;
  std::string first;  // the beginning of a header block: an entry of the table
  char again;         // one byte that stands for that entry
  int in_a_frame;     // of these: they stand for less than 8 KiB, which gRPC takes
};

// A header block whose bytes each stand for a field that was said once (HPACK's table); it never
// ends. gRPC counts what they stand for, but only within a frame.
class HeaderBombs : public FrameRows, public ::testing::WithParamInterface<Bomb> {};

// A literal with incremental indexing (RFC 7541, 6.2.1).
std::string Indexed(const std::string& name, const std::string& value) {
  std::string block = http2::Literals({{name, value}});
  block[0] = '\x40';
  return block;
}

TEST_P(HeaderBombs, Row82) {
  Serve();
  RawClient client = Greeted();
  client.Send(http2::Bytes(http2::kHeaders, http2::kNone, 1,
                           http2::Literals(http2::CallFields(kCompute)) + GetParam().first));
  const std::string more =
      Times(70, http2::Bytes(http2::kContinuation, http2::kNone, 1,
                             std::string(GetParam().in_a_frame, GetParam().again)));
  const int64_t sent = Flood(client, [&](uint32_t) { return more; });
  Report(GetParam().name, sent, client);
  EXPECT_FALSE(client.what().empty()) << "a header of " << sent << " bytes was taken";
  EXPECT_LT(peak_, kMostGrown);
  sentinel().AwaitCalls(2);
}

constexpr char kNewest = static_cast<char>(0x80 | 62);  // the first entry of the dynamic table

INSTANTIATE_TEST_SUITE_P(All, HeaderBombs,
                         ::testing::Values(Bomb{"LargeValue", Indexed("x", std::string(3900, 'v')),
                                                kNewest, 2},
                                           Bomb{"EmptyValue", Indexed("x", ""), kNewest, 240},
                                           Bomb{"Cookies", Indexed("cookie", ""), kNewest, 200},
                                           Bomb{"Binary", Indexed("x-bin", "AAAA"), kNewest, 200},
                                           Bomb{"Static", "", static_cast<char>(0x80 | 21), 230},
                                           Bomb{"OneFrame", Indexed("x", ""), kNewest, 16'000}),
                         [](const auto& info) { return info.param.name; });

// ------------------------------------------------------------------------------- paths of none

const std::string kNoMethods[] = {"lossd.v1.LossService/Compute",
                                  "//lossd.v1.LossService/Compute",
                                  "/lossd.v1.LossService//Compute",
                                  "/lossd.v1.LossService/Compute/",
                                  "/lossd.v1.LossService/Compute?x",
                                  "/lossd.v1.LossService/compute",
                                  std::string("/lossd.v1.LossService/Compute\0", 30),
                                  "/LossService/Compute",
                                  "http://localhost/lossd.v1.LossService/Compute",
                                  "/lossd.v1.LossService/%43ompute",
                                  "Compute",
                                  "*",
                                  "/",
                                  ""};

// A path that another component reads as a method must not be one that tokens do not guard.
TEST_F(FrameRows, Row83_PathsThatAreNoMethod) {
  const TempDir scratch;
  const std::string tokens = scratch.Write("tokens", "a-token-of-the-test\n");
  const std::string request = http2::Message(Problem(3, 5).Request().SerializeAsString());
  Serve();
  ServerProcess guarded({"127.0.0.1:0"}, {"--auth-token-file=" + tokens, "--log-level=error"});
  for (const std::string& server : {address(), guarded.address()}) {
    const bool tokens_wanted = server == guarded.address();
    const auto status_of = [&](const std::string& path) {
      RawClient client(server);
      client.Greet();
      client.Open(1, path);
      client.SendData(1, request, true);
      const std::optional<int> status = client.Status(1, 5);
      std::printf("  %s \"%s\": status %d %s %s\n", tokens_wanted ? "tokens" : "open  ",
                  path.c_str(), status.value_or(-1), client.what().c_str(),
                  client.message().c_str());
      return status;
    };
    for (const std::string& path : kNoMethods) EXPECT_NE(status_of(path), 0) << path;
    EXPECT_EQ(status_of(kCompute), tokens_wanted ? 16 : 0);
  }
}

}  // namespace
}  // namespace lossd
