#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "lossd/client.h"
#include "tests/faults/http2.h"
#include "tests/server/harness.h"
#include "tests/server/open_call.h"
#include "tests/server/raw_socket.h"

// Admission as callers of a running server meet it.
namespace lossd::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kMiB = 1 << 20;

std::string Trailer(const grpc::ClientContext& context, const char* name) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(name);
  return found == trailers.end() ? "" : std::string(found->second.data(), found->second.size());
}

void ExpectAllGivenBack(const Server& server) {
  WaitUntil([&] {
    return server.live_calls() == 0 && server.loaned_output_bytes() == 0 &&
           server.admission().granted_bytes == 0 && server.admission().calls == 0 &&
           server.admission().queued == 0;
  });
}

// A stream that has sent its header and side tensors, so what it may hold is granted.
struct OpenStream {
  OpenStream(v1::LossService::Stub& stub, const Problem& problem)
      : stream(stub.ComputeStream(&context)) {
    BeginStream(problem, *stream);
  }

  grpc::ClientContext context;
  std::unique_ptr<ComputeStreamer> stream;
};

// ------------------------------------------------------------------------------------- memory

ServerOptions WithBudget(int64_t bytes) {
  ServerOptions options = AnyPort();
  options.memory_budget = bytes;
  return options;
}

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

// ------------------------------------------------------------------------------ unary messages

// Patience of 50 ms, and no time for the bytes themselves.
ServerOptions Impatient() {
  ServerOptions options = AnyPort();
  options.times.bytes_per_second = int64_t{1} << 50;
  return options;
}

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";

grpc::Status Told(const Server& server, const std::string& bytes, const Problem& problem,
                  grpc::ClientContext& context) {
  context.AddMetadata("loss-bytes", bytes);
  v1::ComputeResponse response;
  return StubFor(server)->Compute(&context, problem.Request(), &response);
}

// Two messages that may be large have all the places there are. What says nothing of its size
// waits; what says that it is small does not.
TEST(Messages, OfUnknownSizeWaitForAPlace) {
  const auto server = StartServer(WithBudget(16 * kMiB));
  OpenCall silent[] = {{*server, kCompute}, {*server, kCompute}};
  WaitUntil([&] { return server->live_calls() == 2; });
  const Problem problem(4, 8);
  grpc::Status status = grpc::Status::CANCELLED;
  std::thread other([&] {
    grpc::ClientContext context;
    v1::ComputeResponse response;
    status = StubFor(*server)->Compute(&context, problem.Request(), &response);
  });
  WaitUntil([&] { return server->admission().held_back == 1; });
  grpc::ClientContext context;
  const std::string bytes = std::to_string(problem.Request().ByteSizeLong());
  EXPECT_TRUE(Told(*server, bytes, problem, context).ok());
  EXPECT_EQ(server->admission().held_back, 1);
  silent[0].Send(problem.Request(), /*last=*/true);
  other.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(silent[0].Finish().ok());
  silent[1].Cancel();
  EXPECT_FALSE(silent[1].Finish().ok());
  ExpectAllGivenBack(*server);
}

TEST(Messages, ThatWaitMayHangUp) {
  const auto server = StartServer(WithBudget(16 * kMiB));
  OpenCall silent[] = {{*server, kCompute}, {*server, kCompute}};
  WaitUntil([&] { return server->live_calls() == 2; });
  {
    OpenCall waits(*server, kCompute);
    WaitUntil([&] { return server->admission().held_back == 1; });
    waits.Cancel();
    EXPECT_EQ(waits.Finish().error_code(), grpc::StatusCode::CANCELLED);
    WaitUntil([&] { return server->admission().held_back == 0; });
  }
  for (OpenCall& call : silent) call.Cancel();
  for (OpenCall& call : silent) call.Finish();
  ExpectAllGivenBack(*server);
}

TEST(Messages, AreRefusedBeforeTheyAreReadWhereTheyCannotBe) {
  ServerOptions options = WithBudget(20 * kMiB);
  options.limits.max_unary_bytes = 12 * kMiB;
  const auto server = StartServer(options);
  const Problem problem(4, 8);
  const struct {
    const char* bytes;
    grpc::StatusCode code;
    const char* reason;
  } cases[] = {{"12582913", grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"},  // the limit
               {"10485760", grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE"},  // the budget
               {"-1", grpc::StatusCode::INVALID_ARGUMENT, ""},
               {"many", grpc::StatusCode::INVALID_ARGUMENT, ""},
               {"99999999999999999999", grpc::StatusCode::INVALID_ARGUMENT, ""}};
  for (const auto& row : cases) {
    grpc::ClientContext context;
    EXPECT_EQ(Told(*server, row.bytes, problem, context).error_code(), row.code) << row.bytes;
    EXPECT_EQ(Trailer(context, "loss-reason"), row.reason) << row.bytes;
  }
  ExpectAllGivenBack(*server);
}

// Less was told than came: what is missing is asked for, and may be refused.
// gRPC's own refusal of a large message has neither a reason nor a way out.
TEST(Messages, LargerThanAllowedAreRefusedWithAReason) {
  ServerOptions options = AnyPort();
  options.limits.max_unary_bytes = 64 << 10;
  options.limits.max_block_bytes = 128 << 10;
  const auto server = StartServer(options);
  const auto stub = StubFor(*server);
  for (const int64_t rows : {17, 64, 10 << 10}) {  // from a little too much to 40 MiB
    const Problem problem(rows, 1024);
    grpc::ClientContext unary;
    v1::ComputeResponse response;
    const grpc::Status status = stub->Compute(&unary, problem.Request(), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << rows;
    EXPECT_THAT(status.error_message(), AllOf(HasSubstr("65536"), HasSubstr("--max-unary-bytes"),
                                              HasSubstr("ComputeStream")));
    EXPECT_EQ(Trailer(unary, "loss-reason"), "TOO_LARGE");
  }
  const Problem problem(64, 1024);
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  stream->Write(problem.Block(1, 63));
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("at most 131072 (--max-block-bytes)"));
  EXPECT_EQ(Trailer(context, "loss-reason"), "TOO_LARGE");
  ExpectAllGivenBack(*server);
  EXPECT_EQ(server->admission().refused_for(Refusal::kTooLarge), 4);
}

TEST(Messages, LargerThanToldArePaidFor) {
  const auto server = StartServer(WithBudget(20 * kMiB));
  for (const char* told : {"0", "1", "1000"}) {
    grpc::ClientContext context;
    EXPECT_TRUE(Told(*server, told, Problem(64, 1024), context).ok()) << told;
  }
  grpc::ClientContext context;
  EXPECT_EQ(Told(*server, "1000", Problem(11 << 8, 1024), context).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Trailer(context, "loss-reason"), "TOO_LARGE");
  ExpectAllGivenBack(*server);
}

TEST(Messages, ThatDoNotComeEndTheirCalls) {
  ServerOptions options = Impatient();
  options.times.upload = milliseconds(50);
  const auto server = StartServer(options);
  OpenCall silent(*server, kCompute);
  EXPECT_EQ(silent.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Trailer(silent.context(), "loss-reason"), "STALLED");
  ExpectAllGivenBack(*server);
}

// A call of unknown size of which the first bytes have come.
RawSocket BegunCall(const Server& server) {
  RawSocket socket(server.addresses().front());
  socket.Send(kHttp2Begin);
  socket.Send(http2::Bytes(http2::kHeaders, http2::kEndHeaders, 1,
                           http2::Literals(http2::CallFields(kCompute))));
  socket.Send(http2::Bytes(http2::kData, http2::kNone, 1, http2::MessagePrefix(1000) + "x"));
  return socket;
}

TEST(Messages, ThatWaitTooLongForAPlaceAreTurnedAway) {
  ServerOptions options = WithBudget(16 * kMiB);
  options.times.place = milliseconds(50);
  const auto server = StartServer(options);
  {
    const RawSocket begun[] = {BegunCall(*server), BegunCall(*server)};
    WaitUntil([&] { return server->live_calls() == 2; });
    OpenCall waits(*server, kCompute);
    EXPECT_EQ(waits.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(Trailer(waits.context(), "loss-reason"), "QUEUE_TIMEOUT");
  }
  ExpectAllGivenBack(*server);
}

TEST(Messages, OfWhichNothingComesMakeWay) {
  const auto server = StartServer(WithBudget(16 * kMiB));
  OpenCall silent[] = {{*server, kCompute}, {*server, kCompute}};
  WaitUntil([&] { return server->live_calls() == 2; });
  OpenCall waits(*server, kCompute);
  waits.Send(Problem(8, 16).Request(), /*last=*/true);
  EXPECT_TRUE(waits.Finish().ok());
  WaitUntil([&] { return server->live_calls() == 1; });  // the other one made way
  for (OpenCall& call : silent) call.Cancel();
  for (OpenCall& call : silent) call.Finish();
  ExpectAllGivenBack(*server);
}

TEST(Messages, ThatDoNotComeHaveNoMoreTimeThanACall) {
  ServerOptions options = AnyPort();
  options.times.call = milliseconds(50);
  const auto server = StartServer(options);
  OpenCall silent(*server, kCompute);
  const grpc::Status status = silent.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("0.05 s"));
  EXPECT_EQ(Trailer(silent.context(), "loss-reason"), "TIME_LIMIT");
  ExpectAllGivenBack(*server);
}

TEST(Messages, ACallWithoutOneIsAMistake) {
  const auto server = StartServer();
  OpenCall call(*server, kCompute);
  call.HalfClose();
  EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  ExpectAllGivenBack(*server);
}

// -------------------------------------------------------------------------------------- calls

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
