// Rows 22-25 and 30: streams that do not keep to the protocol. That the state machine has an answer
// to everything is the business of tests/server/stream_session_test and of tests/fuzz.
#include <cstdio>
#include <thread>

#include "tests/faults/proxy.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using testing::ComputeStreamer;
using ::testing::HasSubstr;
using testing::Problem;
using Part = v1::ComputeStreamRequest;

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

struct Outcome {
  grpc::Status status;
  bool summary = false;
};

// Sends the parts, closes, and reads to the end.
Outcome Play(v1::LossService::Stub& stub, const std::vector<Part>& parts) {
  grpc::ClientContext context;
  const auto stream = stub.ComputeStream(&context);
  std::thread writer([&] {
    for (const Part& part : parts) {
      if (!stream->Write(part)) return;
    }
    stream->WritesDone();
  });
  Outcome outcome;
  for (v1::ComputeStreamResponse answer; stream->Read(&answer);) {
    outcome.summary |= answer.has_summary();
  }
  writer.join();
  outcome.status = stream->Finish();
  return outcome;
}

Part EmptySide() {
  Part part;
  part.mutable_side_data()->set_kind(v1::SideData::KIND_TARGETS);
  return part;
}

Part Shifted(Part block, int64_t rows) {
  block.mutable_block()->mutable_box()->set_outer_begin(rows);
  return block;
}

class StreamRows : public Row {};

TEST_F(StreamRows, Rows22and23_OutOfOrder) {
  Serve();
  const Problem p(4, 6);
  const Part header = p.Header(), weights = p.Weights(), labels = p.Labels();
  const Part row0 = p.Block(0, 1), row1 = p.Block(1, 1), rest = p.Block(1, 3);
  const struct {
    const char* name;
    std::vector<Part> parts;
  } plays[] = {
      {"nothing", {}},
      {"data before the header", {row0}},
      {"side data before the header", {labels, header}},
      {"a second header", {header, header}},
      {"a header after data", {header, weights, labels, row0, header}},
      {"an unknown kind", {Part()}},
      {"labels before weights", {header, labels, weights}},
      {"a block before the labels", {header, weights, row0}},
      {"side data after a block", {header, weights, labels, row0, labels}},
      {"a gap", {header, weights, labels, row0, p.Block(2, 2)}},
      {"a block twice", {header, weights, labels, row0, row0, rest}},
      {"an overlap", {header, weights, labels, p.Block(0, 2), rest}},
      {"outside", {header, weights, labels, Shifted(row0, 4)}},
      {"far outside", {header, weights, labels, Shifted(row0, INT64_MAX)}},
      {"before the beginning", {header, weights, labels, Shifted(row0, -1)}},
      {"a block after the last", {header, weights, labels, row0, rest, row1}},
      {"an empty piece of side data", {header, EmptySide()}},
  };
  const auto stub = Stub();
  for (const auto& play : plays) {
    SCOPED_TRACE(play.name);
    const Outcome outcome = Play(*stub, play.parts);
    EXPECT_EQ(outcome.status.error_code(), kInvalid) << outcome.status.error_message();
    EXPECT_FALSE(outcome.summary);
  }
  // In another order than that of the rows it is a call like any other.
  EXPECT_TRUE(Play(*stub, {header, weights, labels, rest, row0}).summary);
}

TEST_F(StreamRows, Row24_TheUploadEndsEarly) {
  Serve();
  const Problem p(100, 50);
  const auto stub = Stub();
  for (const int64_t sent : {0, 1, 50, 99}) {
    std::vector<Part> parts = {p.Header(), p.Weights(), p.Labels()};
    for (int64_t row = 0; row < sent; ++row) parts.push_back(p.Block(row, 1));
    const Outcome outcome = Play(*stub, parts);
    EXPECT_EQ(outcome.status.error_code(), kInvalid) << outcome.status.error_message();
    EXPECT_THAT(outcome.status.error_message(), HasSubstr("the upload ended after"));
    EXPECT_FALSE(outcome.summary) << "a loss over a part of the data";
  }
}

// The first message without content ends the call; what follows costs nothing.
TEST_F(StreamRows, Row25_EmptyMessagesWithoutEnd) {
  Serve();
  const auto stub = Stub();
  const absl::Duration before = StateOf(pid()).cpu;
  const Problem p(4, 6);
  std::vector<Part> parts = {p.Header(), p.Weights()};
  parts.resize(100'000);
  const Outcome outcome = Play(*stub, parts);
  EXPECT_EQ(outcome.status.error_code(), kInvalid) << outcome.status.error_message();
  EXPECT_LT(StateOf(pid()).cpu - before, absl::Seconds(2));
}

// A server that refuses says so at once, and the client stops: little of 1 GiB goes over the line.
TEST_F(StreamRows, Row30_RefusedDuringALargeUpload) {
  Serve();
  Proxy proxy(address(), {});
  const auto client = Client::Connect(proxy.address(), {.retry = {.max_attempts = 1}});
  const int64_t rows = 1 << 18, classes = 1 << 10;
  const std::vector<float> predictions(rows * classes);
  std::vector<int64_t> labels(rows);
  labels[0] = classes;  // out of range: found before the first block is computed
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {rows, classes});
  inputs.targets = TensorView::Of<int64_t>(labels, {rows});
  const auto result = Client(*client).Compute(LossSpec{}, inputs, {});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
  EXPECT_LT(proxy.bytes_up(), 64 << 20);
  std::printf("  %ld KiB of 1 GiB were sent\n", static_cast<long>(proxy.bytes_up() >> 10));
}

}  // namespace
}  // namespace lossd
