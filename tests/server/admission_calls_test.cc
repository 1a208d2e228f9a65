// Quotas of calls and limits of their time, as callers of a running server meet them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "tests/server/admission_support.h"
#include "tests/server/harness.h"

namespace lossd::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST(Calls, OfOneConnectionAreCounted) {
  ServerOptions options = AnyPort();
  options.calls.calls_per_connection = 1;
  const auto server = StartServer(options);
  const auto stub = StubFor(*server);
  const Problem problem(4, 8);
  OpenStream open(*stub, problem);
  grpc::ClientContext context;
  v1::ComputeResponse response;
  const grpc::Status status = stub->Compute(&context, problem.Request(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Trailer(context, "loss-reason"), "PEER_QUOTA");
  grpc::ClientContext other;
  EXPECT_TRUE(StubFor(*server)->Compute(&other, problem.Request(), &response).ok());
  open.context.TryCancel();
  ExpectAllGivenBack(*server);
}

// --------------------------------------------------------------------------------------- time

TEST(Time, AStreamWithoutAHeaderEnds) {
  ServerOptions options = Impatient();
  options.times.header = milliseconds(50);
  const auto server = StartServer(options);
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stream = StubFor(*server)->ComputeStream(&context);
  EXPECT_EQ(ReadAll(problem, *stream).status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Trailer(context, "loss-reason"), "STALLED");
  ExpectAllGivenBack(*server);
}

TEST(Time, AStalledUploadEndsInAnyPhase) {
  ServerOptions options = Impatient();
  options.times.upload = milliseconds(50);
  const auto server = StartServer(options);
  const auto stub = StubFor(*server);
  const Problem p(8, 4);
  const std::vector<v1::ComputeStreamRequest> parts = {p.Header(), p.Weights(), p.Labels(),
                                                       p.Block(0, 4), p.Block(4, 4)};
  for (size_t sent = 1; sent <= parts.size(); ++sent) {
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    for (size_t i = 0; i < sent; ++i) stream->Write(parts[i]);
    const StreamAnswer answer = ReadAll(p, *stream);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << sent;
    EXPECT_EQ(Trailer(context, "loss-reason"), "STALLED");
    EXPECT_EQ(answer.summaries, 0);
  }
  EXPECT_EQ(server->admission().refused_for(Refusal::kStalled), 5);
  ExpectAllGivenBack(*server);
}

TEST(Time, WhoDoesNotReadIsCutOff) {
  ServerOptions options = Impatient();
  options.times.download = milliseconds(50);
  options.times.refusal = milliseconds(50);
  const auto server = StartServer(options);
  constexpr int64_t kRowsPerBlock = 256;
  const Problem problem(kRowsPerBlock * 64, 1024);
  grpc::ClientContext context;
  const auto stub = StubFor(*server);
  const auto stream = stub->ComputeStream(&context);
  stream->Write(problem.Header());
  stream->Write(problem.Weights());
  stream->Write(problem.Labels());
  int sent = 0;
  for (int64_t row = 0; row < problem.rows; row += kRowsPerBlock, ++sent) {
    if (!stream->Write(problem.Block(row, kRowsPerBlock))) break;
  }
  EXPECT_LT(sent, 64);
  ExpectAllGivenBack(*server);  // although the client has not read to the end
  EXPECT_EQ(server->admission().refused_for(Refusal::kStalled), 1);
  EXPECT_FALSE(ReadAll(problem, *stream).status.ok());
}

// A client that pauses for too long, and then reads on, is told why its call is over.
TEST(Time, WhoReadsTooLateIsToldWhy) {
  ServerOptions options = AnyPort();
  options.times.download = milliseconds(50);
  options.times.refusal = std::chrono::hours(1);
  const auto server = StartServer(options);
  constexpr int64_t kRowsPerBlock = 256;
  const Problem problem(kRowsPerBlock * 64, 1024);
  grpc::ClientContext context;
  const auto stub = StubFor(*server);
  const auto stream = stub->ComputeStream(&context);
  std::thread uploads([&] {
    stream->Write(problem.Header());
    stream->Write(problem.Weights());
    stream->Write(problem.Labels());
    for (int64_t row = 0; row < problem.rows; row += kRowsPerBlock) {
      if (!stream->Write(problem.Block(row, kRowsPerBlock))) break;
    }
  });
  WaitUntil([&] { return server->admission().refused_for(Refusal::kStalled) == 1; });
  const grpc::Status status = ReadAll(problem, *stream).status;
  uploads.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_EQ(status.error_message(), "the answers were not taken for too long");
  EXPECT_EQ(Trailer(context, "loss-reason"), "STALLED");
  ExpectAllGivenBack(*server);
}

TEST(Time, NoCallIsLongerThanTheServerAllows) {
  ServerOptions options = AnyPort();
  options.times.call = milliseconds(50);
  const auto server = StartServer(options);
  const Problem problem(4, 8);
  const auto stub = StubFor(*server);
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  stream->Write(problem.Header());
  const grpc::Status status = ReadAll(problem, *stream).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("0.05 s"));
  EXPECT_EQ(Trailer(context, "loss-reason"), "TIME_LIMIT");
  ExpectAllGivenBack(*server);
}

}  // namespace
}  // namespace lossd::testing
