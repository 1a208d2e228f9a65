#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/harness.h"
#include "tests/support/random.h"

namespace lossd::testing {
namespace {

using ::testing::HasSubstr;

// To the bit.
void ExpectSame(const v1::LossResult& got, const LossResult& want) {
  EXPECT_EQ(std::bit_cast<uint64_t>(got.loss()), std::bit_cast<uint64_t>(want.loss));
  EXPECT_EQ(got.position_count(), want.position_count);
  EXPECT_EQ(got.valid_count(), want.valid_count);
}

void ExpectSame(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0);
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

StreamAnswer RunStream(v1::LossService::Stub& stub, const Problem& problem, int64_t rows_per_block,
                       uint64_t order) {
  grpc::ClientContext context;
  const auto stream = stub.ComputeStream(&context);
  std::thread upload([&] {
    stream->Write(problem.Header());
    stream->Write(problem.Weights());
    stream->Write(problem.Labels());
    std::vector<int64_t> begins;
    for (int64_t row = 0; row < problem.rows; row += rows_per_block) begins.push_back(row);
    oracle::Random random(order);
    for (size_t i = begins.size(); i > 1; --i) std::swap(begins[i - 1], begins[random.Below(i)]);
    for (const int64_t row : begins) {
      stream->Write(problem.Block(row, std::min(rows_per_block, problem.rows - row)));
    }
    stream->WritesDone();
  });
  StreamAnswer answer = ReadAll(problem, *stream);
  upload.join();
  return answer;
}

class Calls : public ::testing::Test {
 protected:
  std::unique_ptr<Server> server_ = StartServer();
  std::unique_ptr<v1::LossService::Stub> stub_ = StubFor(*server_);
};

TEST_F(Calls, UnaryIsTheCoresAnswer) {
  // In order: handled on the polling thread; by the executor; arriving in many slices.
  for (const auto& [rows, classes] : {std::pair(3, 5), {300, 100}, {700, 1003}}) {
    const Problem problem(rows, classes);
    grpc::ClientContext context;
    v1::ComputeResponse response;
    const grpc::Status status = stub_->Compute(&context, problem.Request(), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ExpectSame(response.result(), problem.result);
    EXPECT_EQ(response.gradient().dtype(), v1::DTYPE_F32);
    EXPECT_THAT(response.gradient().shape(), ::testing::ElementsAre(rows, classes));
    ExpectSame(Floats(response.gradient().data()), problem.gradient);
  }
}

TEST_F(Calls, UnarySideOutputsHaveTheShapeOfTheLabels) {
  const Problem problem(4, 6);
  v1::ComputeRequest request = problem.Request();
  v1::Outputs* const outputs = request.mutable_spec()->mutable_outputs();
  outputs->set_gradient(false);
  outputs->set_position_losses(true);
  outputs->set_log_sum_exp(true);
  outputs->set_argmax_hits(true);
  outputs->set_probabilities(true);
  for (const bool indices : {true, false}) {
    if (!indices) {  // the predictions serve as probabilities: only shapes matter here
      *request.mutable_class_probabilities() = request.predictions();
    }
    grpc::ClientContext context;
    v1::ComputeResponse response;
    const grpc::Status status = stub_->Compute(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_FALSE(response.has_gradient());
    for (const v1::Tensor* tensor :
         {&response.position_losses(), &response.log_sum_exp(), &response.argmax_hits()}) {
      EXPECT_THAT(tensor->shape(), ::testing::ElementsAre(4));
    }
    EXPECT_EQ(response.position_losses().data().size(), 32u);
    EXPECT_EQ(response.argmax_hits().data().size(), 4u);
    EXPECT_THAT(response.probabilities().shape(), ::testing::ElementsAre(4, 6));
  }
}

TEST_F(Calls, StreamIsTheCoresAnswerWhateverTheBlocks) {
  const Problem problem(1000, 257);
  for (const int64_t rows_per_block : {1000, 333, 64, 7}) {
    SCOPED_TRACE(rows_per_block);
    const StreamAnswer answer = RunStream(*stub_, problem, rows_per_block, rows_per_block);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.summaries, 1);
    EXPECT_EQ(answer.blocks, (problem.rows + rows_per_block - 1) / rows_per_block);
    ExpectSame(answer.last, problem.result);
    ExpectSame(answer.gradient, problem.gradient);
  }
  WaitUntil([&] { return server_->live_calls() == 0 && server_->loaned_output_bytes() == 0; });
}

// The end of the upload is seen while blocks are being computed.
TEST_F(Calls, SummaryWaitsForTheLastBlock) {
  const Problem problem(2048, 2048);
  for (int round = 0; round < 10; ++round) {
    const StreamAnswer answer = RunStream(*stub_, problem, 512, round);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.blocks, 4);
    ExpectSame(answer.last, problem.result);
  }
}

TEST_F(Calls, StreamOfNoPositions) {
  const Problem problem(0, 3);
  const StreamAnswer answer = [&] {
    grpc::ClientContext context;
    const auto stream = stub_->ComputeStream(&context);
    stream->Write(problem.Header());
    stream->WritesDone();
    return ReadAll(problem, *stream);
  }();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.summaries, 1);
  EXPECT_EQ(answer.last.loss(), 0);
}

TEST_F(Calls, SeveralStreamsAtOnce) {
  const Problem problem(400, 500);
  std::vector<std::thread> trainers;
  for (int i = 0; i < 4; ++i) {
    trainers.emplace_back([&, i] {
      const auto stub = StubFor(*server_);
      for (int round = 0; round < 3; ++round) {
        const StreamAnswer answer = RunStream(*stub, problem, 11 + 37 * i, i);
        EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
        ExpectSame(answer.last, problem.result);
        ExpectSame(answer.gradient, problem.gradient);
      }
    });
  }
  for (std::thread& trainer : trainers) trainer.join();
}

// ------------------------------------------------------------------------------- refusals

using Parts = std::vector<v1::ComputeStreamRequest>;

// Sends the parts, half-closes, reads to the end.
StreamAnswer SendAll(v1::LossService::Stub& stub, const Problem& problem, const Parts& parts) {
  grpc::ClientContext context;
  const auto stream = stub.ComputeStream(&context);
  for (const auto& part : parts) {
    if (!stream->Write(part)) break;
  }
  stream->WritesDone();
  return ReadAll(problem, *stream);
}

TEST_F(Calls, BrokenStreamsAreInvalidAndNeverGetASummary) {
  const Problem p(8, 4);
  v1::ComputeStreamRequest short_block = p.Block(4, 4);
  short_block.mutable_block()->mutable_predictions()->pop_back();
  v1::ComputeStreamRequest gap = p.Labels();
  gap.mutable_side_data()->set_offset_bytes(8);
  v1::ComputeStreamRequest bad_label = p.Labels();
  bad_label.mutable_side_data()->mutable_data()->at(7) = '\x7f';
  struct Row {
    const char* name;
    Parts parts;
    const char* words;
  };
  for (const Row& row : std::vector<Row>{
           {"nothing", {}, "the end of the upload came where the header was wanted"},
           {"empty_message", {v1::ComputeStreamRequest()}, "part"},
           {"block_first", {p.Block(0, 8)}, "a block came where the header was wanted"},
           {"header_only", {p.Header()}, "after 0 of 32 bytes of position_weights"},
           {"two_headers", {p.Header(), p.Header()}, "a second header"},
           {"no_weights", {p.Header(), p.Labels()}, "wanted position_weights from byte 0"},
           {"gap_in_labels", {p.Header(), p.Weights(), gap}, "wanted targets from byte 0"},
           {"labels_twice",
            {p.Header(), p.Weights(), p.Labels(), p.Labels()},
            "side data (targets)"},
           {"bad_label", {p.Header(), p.Weights(), bad_label}, "0"},
           {"no_blocks", {p.Header(), p.Weights(), p.Labels()}, "after 0 of 8 positions"},
           {"half", {p.Header(), p.Weights(), p.Labels(), p.Block(0, 4)}, "after 4 of 8 positions"},
           {"short",
            {p.Header(), p.Weights(), p.Labels(), p.Block(0, 4), short_block},
            "are 63 bytes; wanted 64"},
           {"overlap",
            {p.Header(), p.Weights(), p.Labels(), p.Block(0, 4), p.Block(3, 5)},
            "overlaps an earlier one"}}) {
    SCOPED_TRACE(row.name);
    const StreamAnswer answer = SendAll(*stub_, p, row.parts);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(answer.status.error_message(), HasSubstr(row.words));
    EXPECT_EQ(answer.summaries, 0);
  }
  WaitUntil([&] { return server_->live_calls() == 0 && server_->loaned_output_bytes() == 0; });
}

TEST_F(Calls, UnaryRefusalsCarryTheCode) {
  const Problem problem(2, 3);
  v1::ComputeRequest request = problem.Request();
  request.mutable_spec()->set_label_smoothing(1.5);
  grpc::ClientContext context;
  v1::ComputeResponse response;
  const grpc::Status status = stub_->Compute(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("label_smoothing is 1.5"));

  const grpc::Status garbage =
      StatusOf(Connect(server_->addresses()[0]), "/lossd.v1.LossService/Compute", "\xff\xff");
  EXPECT_EQ(garbage.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(Calls, UnknownMethodIsUnimplemented) {
  const auto channel = Connect(server_->addresses()[0]);
  for (const char* method : {"/lossd.v1.LossService/Train", "/other.Service/Compute", "/x"}) {
    EXPECT_EQ(StatusOf(channel, method, "").error_code(), grpc::StatusCode::UNIMPLEMENTED)
        << method;
  }
}

TEST(Limits, EachIsResourceExhausted) {
  ServerOptions options = AnyPort();
  options.limits.max_unary_bytes = 16 << 10;
  options.limits.max_block_bytes = 64 << 10;
  options.limits.max_tensor_bytes = 1 << 20;
  const auto server = StartServer(options);
  const auto stub = StubFor(*server);
  const Problem large(300, 60);    // 72 000 bytes of predictions
  const Problem larger(5000, 60);  // 1 200 000
  const Problem medium(100, 60);   // 24 000
  for (const Problem* problem : {&medium, &large}) {
    grpc::ClientContext context;
    v1::ComputeResponse response;
    const grpc::Status status = stub->Compute(&context, problem->Request(), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << problem->rows;
    const auto& trailers = context.GetServerTrailingMetadata();
    EXPECT_EQ(trailers.count("grpc-retry-pushback-ms"), 0u);
    ASSERT_EQ(trailers.count("loss-reason"), 1u);
    EXPECT_EQ(trailers.find("loss-reason")->second, "TOO_LARGE");
    EXPECT_THAT(status.error_message(), HasSubstr("at most 16384"));
  }
  EXPECT_EQ(server->admission().refused_for(Refusal::kTooLarge), 2);
  const StreamAnswer block =
      SendAll(*stub, large, {large.Header(), large.Weights(), large.Labels(), large.Block(0, 300)});
  EXPECT_EQ(block.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << block.status.error_message();
  const StreamAnswer tensor = SendAll(*stub, larger, {larger.Header()});
  EXPECT_EQ(tensor.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(tensor.status.error_message(), HasSubstr("1200000 bytes"));

  // A limit of ours below gRPC's, which is the larger of both.
  options.limits.max_unary_bytes = 1 << 20;
  const auto lopsided = StartServer(options);
  const StreamAnswer long_block =
      SendAll(*StubFor(*lopsided), large,
              {large.Header(), large.Weights(), large.Labels(), large.Block(0, 300)});
  EXPECT_EQ(long_block.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(long_block.status.error_message(), HasSubstr("at most 65536 (--max-block-bytes)"));

  const StreamAnswer fits = SendAll(
      *stub, medium, {medium.Header(), medium.Weights(), medium.Labels(), medium.Block(0, 100)});
  EXPECT_TRUE(fits.status.ok()) << fits.status.error_message();
}

// --------------------------------------------------------------------- broken-off and slow

TEST_F(Calls, CancelAtAnyPointFreesEverything) {
  const Problem p(512, 2000);
  const Parts parts = {p.Header(), p.Weights(), p.Labels(), p.Block(0, 256), p.Block(256, 256)};
  for (size_t sent = 0; sent <= parts.size(); ++sent) {
    for (const bool read_first : {false, true}) {
      if (read_first && sent < 4) continue;
      grpc::ClientContext context;
      const auto stream = stub_->ComputeStream(&context);
      for (size_t i = 0; i < sent; ++i) stream->Write(parts[i]);
      v1::ComputeStreamResponse part;
      if (read_first) {
        EXPECT_TRUE(stream->Read(&part));
      }
      context.TryCancel();
      while (stream->Read(&part)) {
      }
      EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
  }
  WaitUntil([&] { return server_->live_calls() == 0 && server_->loaned_output_bytes() == 0; });
}

TEST_F(Calls, DeadlineFreesEverything) {
  const Problem problem(8, 4);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  const auto stream = stub_->ComputeStream(&context);
  stream->Write(problem.Header());
  EXPECT_EQ(ReadAll(problem, *stream).status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  WaitUntil([&] { return server_->live_calls() == 0; });
}

// A client that sends and never reads fills four blocks, and then is held back. The end of a fifth
// may still be on its way out.
TEST_F(Calls, NotReadingHoldsTheUploadBack) {
  constexpr int64_t kRowsPerBlock = 256;
  const Problem problem(kRowsPerBlock * 128, 1024);  // 128 blocks of 1 MiB
  constexpr int64_t kBlockBytes = kRowsPerBlock * 1024 * sizeof(float);
  grpc::ClientContext context;
  const auto stream = stub_->ComputeStream(&context);
  std::atomic<int64_t> sent{0};
  std::thread upload([&] {
    stream->Write(problem.Header());
    stream->Write(problem.Weights());
    stream->Write(problem.Labels());
    for (int64_t row = 0; row < problem.rows; row += kRowsPerBlock) {
      if (!stream->Write(problem.Block(row, kRowsPerBlock))) return;
      ++sent;
    }
  });
  WaitUntil([&] { return server_->loaned_output_bytes() >= 4 * kBlockBytes; });
  for (int i = 0; i < 300; ++i) {  // while the server has every chance to take more
    EXPECT_TRUE(
        StatusOf(Connect(server_->addresses()[0]), "/lossd.v1.LossService/GetServerInfo", "").ok());
    EXPECT_LE(server_->loaned_output_bytes(), 5 * kBlockBytes);
  }
  context.TryCancel();
  upload.join();
  EXPECT_LT(sent, 128);
  WaitUntil([&] { return server_->live_calls() == 0 && server_->loaned_output_bytes() == 0; });
}

}  // namespace
}  // namespace lossd::testing
