// When messages of unary calls are read: their places, their sizes, and what has time to come.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "tests/faults/http2.h"
#include "tests/server/admission_support.h"
#include "tests/server/harness.h"
#include "tests/server/open_call.h"
#include "tests/server/raw_socket.h"

namespace lossd::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

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

// Less was told than came: what is missing is asked for, and may be refused.
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

}  // namespace
}  // namespace lossd::testing
