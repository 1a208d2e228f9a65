#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "lossd/losses.h"
#include "lossd/server_info.h"
#include "tests/server/harness.h"

// What surrounds the calls: addresses, health, reflection, GetServerInfo, draining.
namespace lossd::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ------------------------------------------------------------------------ services beside ours

TEST(Health, OfTheServerAndOfTheService) {
  const auto server = StartServer();
  const auto channel = Connect(server->addresses()[0]);
  for (const char* service : {"", "lossd.v1.LossService"}) {
    RawCall check(channel, "/grpc.health.v1.Health/Check", HealthRequest(service));
    EXPECT_EQ(check.Read(), kServing) << service;
    EXPECT_TRUE(check.Finish().ok());
  }
  EXPECT_EQ(
      StatusOf(channel, "/grpc.health.v1.Health/Check", HealthRequest("nonsense")).error_code(),
      grpc::StatusCode::NOT_FOUND);
}

TEST(Reflection, ListsTheServiceAndItsMethods) {
  ServerOptions options = AnyPort();
  options.reflection = true;
  const auto server = StartServer(options);
  const auto channel = Connect(server->addresses()[0]);
  const std::string method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  RawCall list(channel, method, std::string("\x3a\x00", 2));  // string list_services = 7
  EXPECT_THAT(list.Read().value_or(""),
              AllOf(HasSubstr("lossd.v1.LossService"), HasSubstr("grpc.health.v1.Health")));
  // string file_containing_symbol = 4
  RawCall file(channel, method, "\x22\x14lossd.v1.LossService");
  EXPECT_THAT(file.Read().value_or(""),
              AllOf(HasSubstr("ComputeStream"), HasSubstr("GetServerInfo")));
}

TEST(Reflection, IsOffUnlessAskedFor) {
  ServerOptions options = AnyPort();
  options.reflection = true;
  const auto other = StartServer(options);  // in the same process
  const auto server = StartServer();
  EXPECT_EQ(StatusOf(Connect(server->addresses()[0]),
                     "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                     std::string("\x3a\x00", 2))
                .error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Info, IsWhatTheServerIs) {
  ServerOptions options = AnyPort();
  options.threads = 2;
  options.limits.max_side_bytes = 12345;
  const auto server = StartServer(options);
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(StubFor(*server)->GetServerInfo(&context, {}, &info).ok());
  EXPECT_THAT(info.version(), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_EQ(info.numerics_version(), kNumericsVersion);
  EXPECT_THAT(info.simd_target(), ::testing::Not(IsEmpty()));
  EXPECT_EQ(info.threads(), 2);
  std::vector<std::string> losses;
  for (const LossFacts& loss : kLossFacts) losses.emplace_back(loss.name);
  EXPECT_THAT(info.losses(), ::testing::ElementsAreArray(losses));
  EXPECT_EQ(info.prediction_dtypes_size(), 4);
  EXPECT_EQ(info.label_dtypes_size(), 12);
  EXPECT_EQ(info.max_unary_bytes(), options.limits.max_unary_bytes);
  EXPECT_EQ(info.max_block_bytes(), options.limits.max_block_bytes);
  EXPECT_EQ(info.max_side_bytes(), 12345);
  EXPECT_EQ(info.max_tensor_bytes(), options.limits.max_tensor_bytes);
  EXPECT_THAT(info.options(),
              ::testing::IsSupersetOf({"softmax.log_floor", "multinomial_logistic.log_epsilon"}));
  EXPECT_THAT(info.tensors(), ::testing::IsSupersetOf({"class_indices", "predictions"}));
  EXPECT_THAT(info.outputs(), ::testing::IsSupersetOf({"gradient", "log_sum_exp"}));
  EXPECT_THAT(info.features(), ::testing::Contains("refuses_unknown_fields"));
}

// ----------------------------------------------------------------------------------- addresses

void ExpectServes(const std::string& address) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  const grpc::Status status =
      v1::LossService::NewStub(Connect(address))->GetServerInfo(&context, {}, &info);
  EXPECT_TRUE(status.ok()) << address << ": " << status.error_message();
}

TEST(Listening, OnSeveralAddresses) {
  char name[] = "/tmp/lossd_life_XXXXXX";
  const std::string directory = mkdtemp(name);
  const std::string path = "unix:" + directory + "/socket";
  ServerOptions options;
  options.listen = {"127.0.0.1:0", "localhost:0", path};
  {
    const auto server = StartServer(options);
    ASSERT_EQ(server->addresses().size(), 3u);
    EXPECT_THAT(server->addresses()[0], ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
    EXPECT_THAT(server->addresses()[1], ::testing::MatchesRegex("localhost:[1-9][0-9]*"));
    EXPECT_EQ(server->addresses()[2], path);
    for (const std::string& address : server->addresses()) ExpectServes(address);

    // A second server gets none of them, and takes nothing away.
    for (const std::string& address : server->addresses()) {
      ServerOptions second;
      second.listen = {"127.0.0.1:0", address};
      const auto refused = Server::Start(second);
      EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition) << address;
      EXPECT_THAT(std::string(refused.status().message()),
                  HasSubstr("cannot listen on " + address));
      ExpectServes(address);
    }
  }
  EXPECT_FALSE(std::filesystem::exists(directory + "/socket"));
  std::filesystem::remove_all(directory);
}

TEST(Listening, SaysWhyNot) {
  const auto server = StartServer();
  ServerOptions second;
  second.listen = server->addresses();
  EXPECT_THAT(std::string(Server::Start(second).status().message()),
              HasSubstr("Address already in use"));
  second.listen = {"unix:/nowhere/at/all"};
  EXPECT_THAT(std::string(Server::Start(second).status().message()),
              HasSubstr("cannot listen on unix:/nowhere/at/all: No such file"));
  second.listen = {"192.0.2.1:0"};  // reserved for documentation: nobody has it
  second.insecure_listen = true;
  EXPECT_THAT(std::string(Server::Start(second).status().message()),
              HasSubstr("Cannot assign requested address"));
  second.listen = {};
  EXPECT_EQ(Server::Start(second).status().code(), absl::StatusCode::kInvalidArgument);
  second.listen = {"127.0.0.1:0"};
  second.limits.max_unary_bytes = 1;
  EXPECT_EQ(Server::Start(second).status(),
            absl::InvalidArgumentError("max_unary_bytes is 1; wanted 4096..2147483647"));
}

// ------------------------------------------------------------------------------------ draining

TEST(Draining, FinishesWhatIsInFlightAndTakesNothingNew) {
  const auto server = StartServer();
  const Problem problem(4, 8);
  const auto stub = StubFor(*server);
  const auto health = Connect(server->addresses()[0]);
  RawCall watch(health, "/grpc.health.v1.Health/Watch", "");
  EXPECT_EQ(watch.Read(), kServing);
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);

  std::thread draining([&] { server->Drain(absl::InfiniteDuration()); });
  EXPECT_EQ(watch.Read(), kNotServing);
  // Once its socket is closed, what comes new is turned away.
  const auto late = v1::LossService::NewStub(Connect(server->addresses()[0]));
  WaitUntil([&] {
    grpc::ClientContext other;
    v1::GetServerInfoResponse info;
    return late->GetServerInfo(&other, {}, &info).error_code() == grpc::StatusCode::UNAVAILABLE;
  });

  EXPECT_TRUE(stream->Write(problem.Block(1, 3)));
  stream->WritesDone();
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.summaries, 1);
  EXPECT_EQ(answer.last.loss(), problem.result.loss);
  draining.join();  // also although somebody still watches
  EXPECT_EQ(server->live_calls(), 0);
}

TEST(Draining, BreaksOffAtTheTimeout) {
  const auto server = StartServer();
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stub = StubFor(*server);
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  server->Drain(absl::ZeroDuration());
  EXPECT_EQ(server->live_calls(), 0);
  EXPECT_EQ(server->loaned_output_bytes(), 0);
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_FALSE(answer.status.ok());
  EXPECT_EQ(answer.summaries, 0);
}

}  // namespace
}  // namespace lossd::testing
