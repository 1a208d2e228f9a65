// The memory budget, as streams and unary calls of a running server meet it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lossd/client.h"
#include "tests/server/admission_support.h"
#include "tests/server/harness.h"

namespace lossd::testing {
namespace {

using ::testing::HasSubstr;

TEST(Memory, WhatIsTooLargeIsRefusedOnTheHeaderAndTheUploadStops) {
  const auto server = StartServer(WithBudget(16 * kMiB));
  const auto stub = StubFor(*server);
  const Problem problem(64 << 10, 256);  // 64 MiB
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  stream->Write(problem.Header());
  int sent = 0;
  while (sent < 1000 && stream->Write(problem.Block(0, 1024))) ++sent;
  EXPECT_LT(sent, 64);
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("--memory-budget"));
  EXPECT_EQ(Trailer(context, "loss-reason"), "TOO_LARGE");
  EXPECT_EQ(answer.blocks, 0);
  ExpectAllGivenBack(*server);
}

TEST(Memory, WhatComputingTakesCounts) {
  // 16 MiB and as much for the gradient. A thread needs 48 MiB, for a row that comes in pieces and
  // the exponentials of two, of which it has 16.
  const Problem problem(1, 4 << 20);
  for (const auto& [budget, expected] : {std::pair(40 * kMiB, grpc::StatusCode::RESOURCE_EXHAUSTED),
                                         std::pair(80 * kMiB, grpc::StatusCode::OK)}) {
    ServerOptions options = WithBudget(budget);
    options.limits.max_unary_bytes = 20 * kMiB;
    const auto server = StartServer(options);
    const auto stub = StubFor(*server);
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    stream->Write(problem.Header());
    stream->Write(problem.Weights());
    stream->Write(problem.Labels());
    stream->Write(problem.Block(0, 1));
    stream->WritesDone();
    EXPECT_EQ(ReadAll(problem, *stream).status.error_code(), expected) << budget;
    ExpectAllGivenBack(*server);
    grpc::ClientContext unary;
    v1::ComputeResponse response;
    EXPECT_EQ(stub->Compute(&unary, problem.Request(), &response).error_code(), expected) << budget;
    ExpectAllGivenBack(*server);
  }
}

TEST(Memory, WhoFindsNoneWaitsAndIsTurnedAway) {
  const auto server = StartServer(WithBudget(20 * kMiB));
  const auto stub = StubFor(*server);
  const Problem problem(1024, 2048);  // 8 MiB, and as much for the gradient: one at a time
  const OpenStream holds(*stub, problem);
  EXPECT_GE(server->admission().granted_bytes, 16 * kMiB);
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  for (const auto& part :
       {problem.Header(), problem.Weights(), problem.Labels(), problem.Block(0, 512)}) {
    stream->Write(part);
  }
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(answer.blocks, 0);  // nothing behind the header was read
  EXPECT_EQ(Trailer(context, "loss-reason"), "QUEUE_TIMEOUT");
  EXPECT_EQ(Trailer(context, "grpc-retry-pushback-ms"), "50");
  EXPECT_EQ(server->admission().refused_for(Refusal::kQueueTimeout), 1);
}

TEST(Memory, WhoWaitsGetsWhatComesFree) {
  const auto server = StartServer(WithBudget(20 * kMiB));
  const auto stub = StubFor(*server);
  const Problem problem(1024, 2048);
  for (int round = 0; round < 5; ++round) {
    OpenStream holds(*stub, problem);
    OpenStream* const first = &holds;
    std::thread frees([&] {
      WaitUntil([&] { return server->admission().queued == 1; });
      first->context.TryCancel();
    });
    const OpenStream waits(*stub, problem);  // has got an answer to its first block
    frees.join();
  }
  ExpectAllGivenBack(*server);
}

TEST(Memory, WhoWaitsMayHangUp) {
  const auto server = StartServer(WithBudget(20 * kMiB));
  const auto stub = StubFor(*server);
  const Problem problem(1024, 2048);
  {
    OpenStream holds(*stub, problem);
    for (int i = 0; i < 50; ++i) {
      grpc::ClientContext context;
      const auto stream = stub->ComputeStream(&context);
      stream->Write(problem.Header());
      context.TryCancel();
      EXPECT_FALSE(ReadAll(problem, *stream).status.ok());
    }
    holds.context.TryCancel();
  }
  ExpectAllGivenBack(*server);
}

TEST(Memory, LargeMessagesAndOutputsAreChargedAsTheyShow) {
  const auto server = StartServer(WithBudget(100 * kMiB));
  const auto stub = StubFor(*server);
  const Problem problem(8192, 1024);  // 32 MiB in, 32 out
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  for (const auto& part : {problem.Header(), problem.Weights(), problem.Labels()}) {
    stream->Write(part);
  }
  stream->Write(problem.Block(0, 8192));
  stream->WritesDone();
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  ExpectAllGivenBack(*server);
}

// What calls of its shape usually hold fits, the messages it sends do not.
TEST(Memory, AMessageThatFindsNoRoomEndsItsCall) {
  const auto server = StartServer(WithBudget(140 * kMiB));
  const auto stub = StubFor(*server);
  const OpenStream holds(*stub, Problem(1024, 2048));  // 16 MiB
  const Problem problem(16384, 1024);                  // 64 MiB in, 64 out
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  for (const auto& part :
       {problem.Header(), problem.Weights(), problem.Labels(), problem.Block(0, 8192)}) {
    stream->Write(part);
  }
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Trailer(context, "loss-reason"), "OVER_BUDGET");
}

// Eight clients want 128 MiB at once of a server that gives 36: all are served, one after the
// other.
TEST(Memory, FourfoldOverloadIsServedInTheEnd) {
  const auto server = StartServer(WithBudget(40 * kMiB));
  const Problem problem(1024, 2048);
  std::vector<std::thread> trainers;
  for (int i = 0; i < 8; ++i) {
    trainers.emplace_back([&] {
      const auto client = Client::Connect(server->addresses().front());
      ASSERT_TRUE(client.ok());
      std::vector<float> gradient(problem.gradient.size());
      const LossInputs inputs = problem.Inputs();
      for (int round = 0; round < 3; ++round) {
        const auto result = Client(*client).Compute(
            {}, inputs, {.gradient = BytesOf<float>(absl::MakeSpan(gradient))},
            {.mode = TransferMode::kStream});
        ASSERT_TRUE(result.ok()) << result.status();
        EXPECT_EQ(result->loss, problem.result.loss);
        EXPECT_EQ(
            std::memcmp(gradient.data(), problem.gradient.data(), gradient.size() * sizeof(float)),
            0);
      }
    });
  }
  for (std::thread& trainer : trainers) trainer.join();
  ExpectAllGivenBack(*server);
}

}  // namespace
}  // namespace lossd::testing
