#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/harness.h"
#include "tests/server/raw_socket.h"

// The port for health checks: what it answers, and that it does when the other is full.
namespace lossd::testing {
namespace {

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";

std::string Check(const std::string& address, const std::string& service = "") {
  RawCall check(Connect(address), kCheck, HealthRequest(service));
  return check.Read().value_or("no answer");
}

ServerOptions WithHealthPort() {
  ServerOptions options = AnyPort();
  options.health_listen = "127.0.0.1:0";
  return options;
}

TEST(HealthPort, TellsHealthAndNothingElse) {
  const auto server = StartServer(WithHealthPort());
  const std::string& address = server->health_address();
  EXPECT_THAT(address, ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(Check(address), kServing);
  EXPECT_EQ(Check(address, "lossd.v1.LossService"), kServing);
  EXPECT_EQ(Check(server->addresses()[0]), kServing);
  for (const char* other : {"/lossd.v1.LossService/GetServerInfo",
                            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"}) {
    EXPECT_EQ(StatusOf(Connect(address), other, "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
  EXPECT_EQ(StatusOf(Connect(address), kCheck, HealthRequest(std::string(100, 'x'))).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(StatusOf(Connect(address), kCheck, std::string(2000, 'x')).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(HealthPort, IsOffUnlessAskedFor) { EXPECT_TRUE(StartServer()->health_address().empty()); }

TEST(HealthPort, AnswersWhenTheOtherIsFull) {
  ServerOptions options = WithHealthPort();
  options.connections.max_connections = 1;
  const auto server = StartServer(options);
  const auto only = Connect(server->addresses()[0]);
  EXPECT_TRUE(StatusOf(only, "/lossd.v1.LossService/GetServerInfo", "").ok());
  EXPECT_EQ(StatusOf(Connect(server->addresses()[0]), kCheck, "").error_code(),
            grpc::StatusCode::UNAVAILABLE);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Check(server->health_address()), kServing);
}

TEST(HealthPort, HasALimitOfConnections) {
  const auto server = StartServer(WithHealthPort());
  std::vector<RawSocket> crowd;
  for (int i = 0; i < 64; ++i) {
    crowd.emplace_back(server->health_address());
    crowd.back().Send(kHttp2Begin);
    char first = 0;  // of the server's settings: the connection is counted
    ASSERT_EQ(recv(crowd.back().fd(), &first, 1, 0), 1);
  }
  const RawSocket late(server->health_address());
  late.Send(kHttp2Begin);
  EXPECT_TRUE(late.WaitForClose());
  EXPECT_EQ(Check(server->addresses()[0]), kServing);
}

TEST(HealthPort, TellsOfTheDrainUntilTheEnd) {
  const auto server = StartServer(WithHealthPort());
  const std::string health = server->health_address();
  RawCall watch(Connect(health), kWatch, "");
  EXPECT_EQ(watch.Read(), kServing);
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stub = StubFor(*server);
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  std::thread draining([&] { server->Drain(absl::InfiniteDuration()); });
  EXPECT_EQ(watch.Read(), kNotServing);
  EXPECT_EQ(Check(health), kNotServing);
  EXPECT_EQ(Check(health, "lossd.v1.LossService"), kNotServing);
  EXPECT_TRUE(stream->Write(problem.Block(1, 3)));
  stream->WritesDone();
  EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
  draining.join();
  EXPECT_EQ(Check(health), kNotServing);
}

TEST(HealthPort, ThatIsTakenIsRefused) {
  const auto first = StartServer(WithHealthPort());
  ServerOptions options = AnyPort();
  options.health_listen = first->health_address();
  EXPECT_EQ(Server::Start(options).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Check(first->health_address()), kServing);
}

}  // namespace
}  // namespace lossd::testing
