// Rows of hoarding: a peer that asks for much and sends nothing does not keep others out.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";
constexpr int kDeadlineExceeded = 4;
constexpr int64_t kMiB = 1 << 20;

class HoardRows : public Row {
 protected:
  // A small call of a client that does not say how large its message is; how long it took.
  absl::Duration CallOfAStranger(grpc::StatusCode* code) const {
    const testing::Problem problem(32, 10);
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(8)));
    v1::ComputeResponse response;
    const absl::Time begin = absl::Now();
    *code = Stub()->Compute(&context, problem.Request(), &response).error_code();
    return absl::Now() - begin;
  }

  // One that says so, of 8 MiB, for which the budget grants twice that.
  grpc::Status LargeCall() const {
    const testing::Problem problem(2048, 1024);
    const v1::ComputeRequest request = problem.Request();
    grpc::ClientContext context;
    context.AddMetadata("loss-bytes", std::to_string(request.ByteSizeLong()));
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    v1::ComputeResponse response;
    return Stub()->Compute(&context, request, &response);
  }

  // Opens calls of which nothing but the header comes.
  static void OpenSilent(RawClient& client, uint32_t first, int count, const char* path,
                         const http2::Fields& more = {}) {
    for (int i = 0; i < count; ++i) client.Open(first + 2 * i, path, more);
  }
};

TEST_F(HoardRows, SilenceIsGivenUpAfterFiveSecondsWhateverMayCome) {
  Serve();
  RawClient client(address());
  client.Greet();
  const absl::Time begin = absl::Now();
  OpenSilent(client, 1, 1, kCompute);
  OpenSilent(client, 3, 1, kCompute, {{"loss-bytes", "67108864"}});
  for (const uint32_t stream : {1, 3}) {
    EXPECT_EQ(client.Status(stream, 9), kDeadlineExceeded) << client.what();
    EXPECT_EQ(client.reason(), "STALLED");
  }
  const absl::Duration took = absl::Now() - begin;
  std::printf("  given up after %s\n", absl::FormatDuration(took).c_str());
  EXPECT_GE(took, absl::Seconds(4));
  EXPECT_LE(took, absl::Seconds(8));
}

// Two calls of 110 bytes each had both places that a small server has, for 69 s.
TEST_F(HoardRows, HeadersOfUnknownMessagesKeepNobodyOut) {
  Serve({"--memory-budget=256MiB"});
  RawClient client(address());
  client.Greet(1 << 20, /*ack=*/false);
  OpenSilent(client, 1, 40, kCompute);
  absl::Duration slowest = absl::ZeroDuration();
  for (int i = 0; i < 5; ++i) {
    grpc::StatusCode code;
    const absl::Duration took = CallOfAStranger(&code);
    EXPECT_EQ(code, grpc::StatusCode::OK) << i;
    slowest = std::max(slowest, took);
  }
  std::printf("  slowest of five calls: %s\n", absl::FormatDuration(slowest).c_str());
  EXPECT_LE(slowest, absl::Seconds(2));
}

// Probabilities with as many targets: nothing but blocks comes behind the header.
v1::ComputeStreamRequest HeaderOf(int64_t rows, int64_t classes) {
  v1::ComputeStreamRequest message;
  v1::ComputeRequest& request = *message.mutable_header()->mutable_request();
  request.mutable_spec()->mutable_nll();
  for (v1::Tensor* const tensor :
       {request.mutable_predictions(), request.mutable_class_probabilities()}) {
    tensor->set_dtype(v1::DTYPE_F32);
    tensor->add_shape(rows);
    tensor->add_shape(classes);
  }
  return message;
}

// Fifteen headers that declare 64 MiB each had 1.9 of 2 GiB.
TEST_F(HoardRows, HeadersThatDeclareMuchKeepNobodyOut) {
  Serve({"--memory-budget=256MiB"});
  RawClient client(address());
  client.Greet(1 << 20, /*ack=*/false);
  uint32_t next = 1;
  int served = 0;
  for (int round = 0; round < 10; ++round) {  // refreshed, as an attacker would
    OpenSilent(client, next, 10, kCompute, {{"loss-bytes", absl::StrCat(28 * kMiB)}});
    next += 20;
    const grpc::Status status = LargeCall();
    EXPECT_TRUE(status.ok()) << round << ": " << status.error_message();
    served += status.ok() ? 1 : 0;
  }
  std::printf("  %d of 10 calls of 8 MiB served\n", served);
}

TEST_F(HoardRows, StreamsThatDeclareMuchKeepNobodyOut) {
  Serve({"--memory-budget=256MiB"});
  RawClient client(address());
  client.Greet(1 << 20, /*ack=*/false);
  const std::string header = http2::Message(HeaderOf(1 << 20, 1024).SerializeAsString());
  for (uint32_t stream = 1; stream < 40; stream += 2) {
    client.Open(stream, kStream);
    client.SendData(stream, header);
  }
  for (int i = 0; i < 5; ++i) {
    const grpc::Status status = LargeCall();
    EXPECT_TRUE(status.ok()) << i << ": " << status.error_message();
  }
}

// A stream's header of 10,000 boxes that lie far apart: what following them takes is charged before
// it is taken, so a small server holds only so much of it.
TEST_F(HoardRows, BoxesArePaidFor) {
  Serve({"--memory-budget=16MiB"});
  RawClient client(address());
  client.Greet(4 << 20);
  constexpr int64_t kRows = int64_t{1} << 38;
  constexpr int64_t kBoxes = 10'000;
  v1::ComputeStreamRequest message = HeaderOf(kRows, 1);
  for (int64_t i = 0; i < kBoxes; ++i) {
    v1::Box& box = *message.mutable_header()->add_boxes();
    box.set_outer_begin(i * (kRows / kBoxes) + i % 4099);
    box.set_outer_count(1);
    box.set_inner_count(1);
  }
  const std::string bytes = http2::Message(message.SerializeAsString());
  const int64_t before = StateOf(pid()).rss_bytes;
  constexpr int kStreams = 40;
  int64_t peak = 0;
  for (int i = 0; i < kStreams; ++i) {
    client.Open(1 + 2 * i, kStream);
    client.SendData(1 + 2 * i, bytes);
    peak = std::max(peak, StateOf(pid()).rss_bytes - before);
  }
  HoldsWithin(absl::Seconds(3), [&] {
    peak = std::max(peak, StateOf(pid()).rss_bytes - before);
    return false;
  });
  std::printf("  %d headers of %zu KiB: %ld MiB more\n", kStreams, bytes.size() >> 10,
              static_cast<long>(peak / kMiB));
  EXPECT_LE(peak, 120 * kMiB);
}

}  // namespace
}  // namespace lossd
