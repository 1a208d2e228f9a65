// Rows 59 to 62: calls of methods that the server does not have, of the health service and of
// reflection: as many and as rude as a caller likes, with and without a token.
#include <signal.h>

#include <cstdio>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using ::testing::AnyOf;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";
constexpr char kUnknown[] = "/lossd.v2.LossService/Compute";
constexpr char kReflection[] = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

constexpr int kUnimplemented = 12;
constexpr int kResourceExhausted = 8;
constexpr int kUnavailable = 14;

std::string Header(uint32_t stream, const std::string& path, uint8_t flags = http2::kEndHeaders) {
  return http2::Bytes(http2::kHeaders, flags, stream, http2::Literals(http2::CallFields(path)));
}

std::string Data(uint32_t stream, absl::string_view bytes) {
  return http2::Bytes(http2::kData, http2::kEndStream, stream, bytes);
}

class ControlRows : public Row {};

// Two of them at once ended the process: gRPC's own answer to unknown methods gives a null tag to
// the second thread that polls.
TEST_F(ControlRows, Row59_UnknownMethodsOnManyConnections) {
  Serve();
  constexpr int kConnections = 64;
  constexpr int kCalls = 100;  // at once on each, as many as may be
  const std::string paths[] = {kUnknown,    "/x.Y/Z", "/grpc.channelz.v1.Channelz/GetServers",
                               kReflection, "/",      "no-slash"};
  int unimplemented = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<RawClient> clients;
    for (int i = 0; i < kConnections; ++i) {
      clients.emplace_back(address());
      clients.back().Greet();
    }
    for (RawClient& client : clients) {
      std::string burst;
      for (uint32_t k = 0; k < kCalls; ++k) {
        const std::string& path = paths[k % std::size(paths)];
        burst += Header(2 * k + 1, path) + Data(2 * k + 1, http2::Message("anything"));
      }
      ASSERT_TRUE(client.Send(burst));
    }
    for (RawClient& client : clients) {
      for (uint32_t k = 0; k < kCalls; ++k) {
        const std::optional<int> status = client.Status(2 * k + 1);
        ASSERT_TRUE(status) << client.what() << " at call " << k;
        ASSERT_THAT(*status, AnyOf(kUnimplemented, kResourceExhausted));
        unimplemented += *status == kUnimplemented ? 1 : 0;
      }
    }
  }
  std::printf("  %d of %d UNIMPLEMENTED, the others beyond the quota of a peer\n", unimplemented,
              3 * kConnections * kCalls);
  EXPECT_GE(unimplemented, kConnections * kCalls);
  sentinel().AwaitCalls(2);
}

// Connections that end in every way as their calls begin, most of them watches. Returns how many
// calls those of one connection were.
int WatchAndLeave(const std::string& address, oracle::Random& random) {
  RawClient client(address);
  std::string burst(http2::kPreface);
  burst += http2::Settings({});
  const auto calls = static_cast<uint32_t>(1 + random.Below(60));
  for (uint32_t k = 0; k < calls; ++k) {
    burst += Header(2 * k + 1, random.OneIn(8) ? kCheck : kWatch);
    burst += Data(2 * k + 1, http2::Message(""));
    if (random.OneIn(4)) burst += http2::Bytes(http2::kReset, 0, 2 * k + 1, http2::Number(8));
  }
  if (!client.Send(burst)) return static_cast<int>(calls);
  if (random.OneIn(4)) client.Read(0.01);
  if (random.OneIn(2)) client.CloseWithReset();
  return static_cast<int>(calls);
}

// Starts a server, watches it until `enough(watches)`, and drains it.
int WatchOneServer(oracle::Random& random, absl::FunctionRef<bool(int)> enough) {
  setenv("MALLOC_PERTURB_", "165", 1);  // what is freed does not look as before
  ServerProcess server({"127.0.0.1:0"}, {"--log-level=error"});
  unsetenv("MALLOC_PERTURB_");
  int watches = 0;
  while (!enough(watches)) watches += WatchAndLeave(server.address(), random);
  // Another peer, whose quota is not used up.
  const grpc::Status served = testing::StatusOf(testing::Connect(server.address()), kCheck, "");
  EXPECT_TRUE(served.ok()) << served.error_code() << " " << served.error_message();
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0);
  return watches;
}

// A watch was freed while it was in use, or left in the list of watchers, which the drain at the
// end goes through.
TEST(ControlRowsOfAProcess, Row60_WatchesOnConnectionsThatEndAsTheyBegin) {
  std::printf("  LOSSD_TEST_SEED=%lu\n", static_cast<unsigned long>(oracle::TestSeed()));
  oracle::Random random(60);
  const absl::Time until = absl::Now() + absl::Seconds(4);
  std::printf("  %d watches\n", WatchOneServer(random, [&](int) { return absl::Now() >= until; }));
}

TEST(SlowControlRows, Row60_AMillionWatchesAndDrainsInBetween) {
  constexpr int kServers = 25;
  constexpr int kWatches = 1'000'000;
  std::printf("  LOSSD_TEST_SEED=%lu\n", static_cast<unsigned long>(oracle::TestSeed()));
  oracle::Random random(61);
  int watches = 0;
  for (int i = 1; i <= kServers; ++i) {
    const int wanted = kWatches / kServers * i - watches;
    watches += WatchOneServer(random, [&](int so_far) { return so_far >= wanted; });
    if (HasFailure()) return;
  }
  std::printf("  %d watches, %d drains\n", watches, kServers);
}

// ---------------------------------------------------------------------------------------- floods

struct FloodCase {
  const char* name;
  const char* path;
};

class ControlFloods : public Row, public ::testing::WithParamInterface<FloodCase> {};

// Calls that are opened and never end, on a connection that does not acknowledge SETTINGS and so
// has no limit of streams in gRPC: whatever their path, the connection is broken.
TEST_P(ControlFloods, Row61_StreamsWithoutAcknowledgement) {
  Serve();
  RawClient client(address());
  client.Greet(1 << 20, /*ack=*/false);
  const absl::Time until = absl::Now() + absl::Seconds(3);
  uint32_t streams = 0;
  while (absl::Now() < until && client.what().empty()) {
    std::string burst;
    for (uint32_t k = 0; k < 50; ++k, ++streams) burst += Header(2 * streams + 1, GetParam().path);
    if (!client.Send(burst, 1)) break;
    while (client.Read(0)) {
    }
  }
  while (client.Read(5)) {  // the end stands behind what was sent before it
  }
  std::printf("  %u streams, +%ld KiB, then \"%s\"\n", streams,
              static_cast<long>(sentinel().grown_bytes() >> 10), client.what().c_str());
  EXPECT_FALSE(client.what().empty()) << "still connected after " << streams << " streams";
  sentinel().AwaitCalls(2);
}

INSTANTIATE_TEST_SUITE_P(All, ControlFloods,
                         ::testing::Values(FloodCase{"Check", kCheck}, FloodCase{"Watch", kWatch},
                                           FloodCase{"Reflection", kReflection},
                                           FloodCase{"Unknown", kUnknown},
                                           FloodCase{"ComputeStream", kStream}),
                         [](const auto& info) { return info.param.name; });

// ----------------------------------------------------------------------------------------- drain

// A call that was on its way when the server began to drain is told so, which every client may
// repeat; gRPC's shutdown would break it off as CANCELLED.
TEST(ControlRowsOfAProcess, Row62_ACallThatCrossesTheGoaway) {
  ServerProcess server({"127.0.0.1:0"}, {"--log-level=error"});
  RawClient client(server.address());
  client.Greet();
  ASSERT_TRUE(client.Open(1, kCheck));
  ASSERT_TRUE(client.SendData(1, http2::Message(""), true));
  ASSERT_EQ(client.Status(1), 0) << client.what();
  server.process().Signal(SIGTERM);
  std::optional<http2::Frame> frame;
  do {
    frame = client.Read();
  } while (frame && frame->type != http2::kGoAway);
  ASSERT_TRUE(frame) << client.what();
  ASSERT_TRUE(client.Open(3, kStream));
  EXPECT_EQ(client.Status(3), kUnavailable) << client.what();
  EXPECT_EQ(client.reason(), "DRAINING");
  EXPECT_EQ(server.process().Wait(), 0);
}

}  // namespace
}  // namespace lossd
