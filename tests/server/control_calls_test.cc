#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/control/health_state.h"
#include "server/memory/release_policy.h"
#include "tests/server/harness.h"
#include "tests/support/temp_dir.h"

// Calls that are not of LossService: what they are answered, who may make them, how many.
namespace lossd::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kReflectionV1[] = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
constexpr char kReflectionAlpha[] =
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

// Requests of the reflection protocol by hand.
const std::string kListServices = "\x3a\x01*";
std::string FileOf(const std::string& symbol) {
  return std::string("\x22") + static_cast<char>(symbol.size()) + symbol;
}

TEST(UnknownMethods, AreNamed) {
  const auto server = StartServer();
  const auto channel = Connect(server->addresses()[0]);
  for (const char* const method :
       {"/lossd.v1.LossService/ComputeV2", "/lossd.v2.LossService/Compute",
        "/grpc.channelz.v1.Channelz/GetServers", "/x", "/", "//", "/lossd.v1.LossService/"}) {
    const grpc::Status status = StatusOf(channel, method, "anything");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
    EXPECT_THAT(status.error_message(), HasSubstr(std::string("no method ") + method));
  }
}

TEST(UnknownMethods, AreCutInTheAnswer) {
  const auto server = StartServer();
  const std::string path = "/" + std::string(3000, 'a');
  const grpc::Status status = StatusOf(Connect(server->addresses()[0]), path, "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_LT(status.error_message().size(), 500U);
}

TEST(UnknownMethods, ManyAtOnceLeaveTheServerAsItWas) {
  const auto server = StartServer();
  const auto channel = Connect(server->addresses()[0]);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::unique_ptr<RawCall>> calls;
    for (int i = 0; i < 50; ++i) {
      calls.push_back(std::make_unique<RawCall>(channel, "/x.Y/Z", std::string(100, 'x')));
    }
    for (const auto& call : calls) {
      EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
    }
  }
  EXPECT_TRUE(StatusOf(channel, "/lossd.v1.LossService/GetServerInfo", "").ok());
}

// ------------------------------------------------------------------------------------ reflection

TEST(Reflection, BothVersionsDescribeTheServiceAndNothingElse) {
  ServerOptions options = AnyPort();
  options.reflection = true;
  const auto server = StartServer(options);
  for (const char* const method : {kReflectionV1, kReflectionAlpha}) {
    const auto channel = Connect(server->addresses()[0]);
    RawCall list(channel, method, kListServices);
    EXPECT_THAT(list.Read().value_or(""),
                AllOf(HasSubstr("lossd.v1.LossService"), HasSubstr("grpc.health.v1.Health"),
                      HasSubstr("grpc.reflection.v1.ServerReflection")));
    EXPECT_TRUE(list.Finish().ok());
    RawCall file(channel, method, FileOf("lossd.v1.LossService.Compute"));
    EXPECT_THAT(file.Read().value_or(""),
                AllOf(HasSubstr("ComputeStream"), HasSubstr("lossd/v1/loss.proto")));
    for (const char* const other : {"google.protobuf.FileDescriptorProto", "no.such.Thing", ""}) {
      RawCall call(channel, method, FileOf(other));
      EXPECT_THAT(call.Read().value_or(""), AllOf(HasSubstr("not found"), Not(HasSubstr("proto3"))))
          << other;
    }
    EXPECT_EQ(StatusOf(channel, method, "\xff\xff").error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(StatusOf(channel, method, FileOf(std::string(100, 'x')) + std::string(8000, 'x'))
                  .error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
}

// ---------------------------------------------------------------------------------------- tokens

TEST(ControlTokens, HealthNeedsNoneAllElseDoes) {
  const TempDir scratch;
  ServerOptions options = AnyPort();
  options.reflection = true;
  options.auth_token_file = scratch.Write("tokens", "correct-horse-battery-staple\n");
  const auto server = StartServer(options);
  const auto channel = Connect(server->addresses()[0]);
  EXPECT_TRUE(StatusOf(channel, kCheck, "").ok());
  RawCall watch(channel, kWatch, "");
  EXPECT_EQ(watch.Read(), kServing);
  for (const char* const method : {kReflectionV1, kReflectionAlpha, "/x.Y/Z"}) {
    EXPECT_EQ(StatusOf(channel, method, kListServices).error_code(),
              grpc::StatusCode::UNAUTHENTICATED)
        << method;
  }
}

// --------------------------------------------------------------------------------------- watches

TEST(HealthWatches, OfManyConnectionsGoWithThem) {
  const auto server = StartServer();
  for (int round = 0; round < 10; ++round) {
    std::vector<std::unique_ptr<RawCall>> watches;
    for (int i = 0; i < 20; ++i) {
      watches.push_back(std::make_unique<RawCall>(Connect(server->addresses()[0]), kWatch, ""));
    }
    for (int i = 0; i < 20; i += 2) EXPECT_EQ(watches[i]->Read(), kServing);
  }
  EXPECT_TRUE(StatusOf(Connect(server->addresses()[0]), kCheck, "").ok());
}

TEST(HealthWatches, BeyondAConnectionsPlacesAreRefused) {
  ServerOptions options = AnyPort();
  options.connections.max_streams = 1000;
  const auto server = StartServer(options);
  const auto channel = Connect(server->addresses()[0]);
  std::vector<std::unique_ptr<RawCall>> watches;
  for (int i = 0; i < 128; ++i) {
    watches.push_back(std::make_unique<RawCall>(channel, kWatch, ""));
    ASSERT_EQ(watches.back()->Read(), kServing) << i;
  }
  const grpc::Status refused = StatusOf(channel, kCheck, "");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("this connection has 128 calls"));
  EXPECT_TRUE(StatusOf(Connect(server->addresses()[0]), kCheck, "").ok());
  EXPECT_TRUE(StatusOf(channel, "/lossd.v1.LossService/GetServerInfo", "").ok());
}

TEST(HealthState, TellsSubscribersWhileTheyExist) {
  HealthState health;
  EXPECT_EQ(health.IsServing(""), false);
  EXPECT_EQ(health.IsServing("other"), std::nullopt);
  int told = 0;
  auto one = health.Subscribe([&] { ++told; });
  auto two = health.Subscribe([&] { told += 10; });
  health.SetServing(true);
  EXPECT_EQ(told, 11);
  EXPECT_EQ(health.IsServing("lossd.v1.LossService"), true);
  one.reset();
  health.SetServing(false);
  EXPECT_EQ(told, 21);
}

TEST(HealthState, HasALimitOfSubscriptions) {
  HealthState health;
  std::vector<std::unique_ptr<HealthState::Subscription>> all;
  for (size_t i = 0; i < HealthState::kMaxSubscriptions; ++i) {
    all.push_back(health.Subscribe([] {}));
    ASSERT_NE(all.back(), nullptr);
  }
  EXPECT_EQ(health.Subscribe([] {}), nullptr);
  all.pop_back();
  EXPECT_NE(health.Subscribe([] {}), nullptr);
}

// ------------------------------------------------------------------------------- freed memory

constexpr int64_t kMiB = 1 << 20;

TEST(ReleasePolicy, ReleasesOnceWhenIdleAfterCalls) {
  ReleasePolicy policy(50 * kMiB);
  EXPECT_FALSE(policy.Due({.begun = 5, .live = 1, .resident = 60 * kMiB}));
  const ReleasePolicy::Period idle = {.begun = 5, .resident = 60 * kMiB};
  for (int i = 1; i < ReleasePolicy::kIdlePeriods; ++i) EXPECT_FALSE(policy.Due(idle)) << i;
  EXPECT_TRUE(policy.Due(idle));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(policy.Due(idle)) << i;
}

// Calls go on: whether memory is due to be released after a period that ends with so many MiB.
class BusyServer {
 public:
  bool operator()(int64_t resident, int64_t used) {
    return policy_.Due(
        {.begun = ++begun_, .live = 1, .resident = resident * kMiB, .used = used * kMiB});
  }

 private:
  ReleasePolicy policy_{50 * kMiB};
  int64_t begun_ = 0;
};

TEST(ReleasePolicy, ReleasesWhileCallsGoOnWhatTheyHadNoUseFor) {
  BusyServer due;
  EXPECT_FALSE(due(50, 0));
  EXPECT_FALSE(due(350, 300));  // what a busy stream keeps for its next block
  EXPECT_TRUE(due(800, 300));   // a flood leaves what nobody was granted
  EXPECT_TRUE(due(800, 300));   // it did not help: again, and again later and later
  EXPECT_FALSE(due(800, 300));
  EXPECT_TRUE(due(800, 300));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(due(800, 300)) << i;
  EXPECT_TRUE(due(800, 300));
  EXPECT_FALSE(due(350, 300));  // it did
  EXPECT_TRUE(due(800, 300));
}

// Of a flood that comes with the first calls, too.
TEST(ReleasePolicy, KnowsTheProcessBeforeTheFirstCall) {
  ReleasePolicy policy(50 * kMiB);
  EXPECT_TRUE(policy.Due({.begun = 1000, .live = 1, .resident = 250 * kMiB, .used = kMiB}));
}

// What is in use cannot be released: trying would only put off the release that helps.
TEST(ReleasePolicy, WaitsForWhatIsInUse) {
  BusyServer due;
  EXPECT_FALSE(due(50, 0));
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(due(800, 760)) << i;
  EXPECT_TRUE(due(800, 20));
}

}  // namespace
}  // namespace lossd::testing
