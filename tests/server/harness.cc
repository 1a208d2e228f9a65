#include "tests/server/harness.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "tests/support/random.h"

namespace lossd::testing {
namespace {

template <class T>
std::string Bytes(const std::vector<T>& values, size_t begin, size_t count) {
  return {reinterpret_cast<const char*>(values.data() + begin), count * sizeof(T)};
}

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return Bytes(values, 0, values.size());
}

void Describe(v1::Tensor* tensor, v1::DType dtype, std::vector<int64_t> shape) {
  tensor->set_dtype(dtype);
  tensor->mutable_shape()->Assign(shape.begin(), shape.end());
}

void Describe(const Problem& problem, v1::ComputeRequest* request) {
  request->mutable_spec()->mutable_softmax();
  Describe(request->mutable_class_indices(), v1::DTYPE_I64, {problem.rows});
  Describe(request->mutable_position_weights(), v1::DTYPE_F32, {problem.rows});
  Describe(request->mutable_predictions(), v1::DTYPE_F32, {problem.rows, problem.classes});
}

}  // namespace

ServerOptions AnyPort() {
  ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  return options;
}

std::unique_ptr<Server> StartServer(const ServerOptions& options) {
  auto server = Server::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void WaitUntil(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::yield();
}

Problem::Problem(int64_t rows, int64_t classes)
    : rows(rows),
      classes(classes),
      predictions(rows * classes),
      labels(rows),
      weights(rows),
      gradient(rows * classes) {
  oracle::Random random(rows * 1000003 + classes);
  for (float& x : predictions) x = static_cast<float>(random.Uniform(-8, 8));
  for (int64_t& label : labels) label = random.Below(classes);
  for (float& weight : weights) weight = static_cast<float>(random.Uniform(0, 2));
  LossOutputs into;
  into.gradient = BytesOf<float>(absl::MakeSpan(gradient));
  Executor executor(1);
  const auto computed = ComputeLoss(LossSpec{}, Inputs(), into, executor);
  EXPECT_TRUE(computed.ok()) << computed.status();
  if (computed.ok()) result = *computed;
}

LossInputs Problem::Inputs() const {
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {rows, classes});
  inputs.targets = TensorView::Of<int64_t>(labels, {rows});
  inputs.position_weights = TensorView::Of<float>(weights, {rows});
  return inputs;
}

v1::ComputeRequest Problem::Request() const {
  v1::ComputeRequest request;
  Describe(*this, &request);
  request.mutable_class_indices()->set_data(Bytes(labels));
  request.mutable_position_weights()->set_data(Bytes(weights));
  request.mutable_predictions()->set_data(Bytes(predictions));
  return request;
}

v1::ComputeStreamRequest Problem::Header() const {
  v1::ComputeStreamRequest part;
  Describe(*this, part.mutable_header()->mutable_request());
  return part;
}

v1::ComputeStreamRequest Problem::Weights() const {
  v1::ComputeStreamRequest part;
  part.mutable_side_data()->set_kind(v1::SideData::KIND_POSITION_WEIGHTS);
  part.mutable_side_data()->set_data(Bytes(weights));
  return part;
}

v1::ComputeStreamRequest Problem::Labels() const {
  v1::ComputeStreamRequest part;
  part.mutable_side_data()->set_kind(v1::SideData::KIND_TARGETS);
  part.mutable_side_data()->set_data(Bytes(labels));
  return part;
}

v1::ComputeStreamRequest Problem::Block(int64_t row, int64_t count) const {
  v1::ComputeStreamRequest part;
  v1::Box* const box = part.mutable_block()->mutable_box();
  box->set_outer_begin(row);
  box->set_outer_count(count);
  box->set_inner_count(1);
  part.mutable_block()->set_predictions(Bytes(predictions, row * classes, count * classes));
  return part;
}

void BeginStream(const Problem& problem, ComputeStreamer& stream) {
  ASSERT_TRUE(stream.Write(problem.Header()));
  ASSERT_TRUE(stream.Write(problem.Weights()));
  ASSERT_TRUE(stream.Write(problem.Labels()));
  ASSERT_TRUE(stream.Write(problem.Block(0, 1)));
  v1::ComputeStreamResponse part;
  ASSERT_TRUE(stream.Read(&part));
}

StreamAnswer ReadAll(const Problem& problem, ComputeStreamer& stream) {
  StreamAnswer answer;
  answer.gradient.resize(problem.gradient.size());
  for (v1::ComputeStreamResponse part; stream.Read(&part);) {
    if (part.has_summary()) {
      ++answer.summaries;
      answer.last = part.summary();
      continue;
    }
    EXPECT_EQ(answer.summaries, 0) << "a block after the summary";
    ++answer.blocks;
    const v1::BlockResult& block = part.block();
    const size_t bytes = block.box().outer_count() * problem.classes * sizeof(float);
    EXPECT_EQ(block.gradient().size(), bytes);
    if (block.gradient().size() != bytes) continue;
    std::memcpy(answer.gradient.data() + block.box().outer_begin() * problem.classes,
                block.gradient().data(), bytes);
  }
  answer.status = stream.Finish();
  return answer;
}

RawCall::RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                 const std::string& request)
    : stub_(channel), call_(stub_.PrepareCall(&context_, method, &queue_)) {
  call_->StartCall(nullptr);
  if (!Await()) return;
  const grpc::Slice slice(request);
  call_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  Await();
}

bool RawCall::Await() {
  void* tag = nullptr;
  bool ok = false;
  return queue_.Next(&tag, &ok) && ok;
}

std::optional<std::string> RawCall::Read() {
  grpc::ByteBuffer message;
  call_->Read(&message, nullptr);
  std::vector<grpc::Slice> slices;
  if (!Await() || !message.Dump(&slices).ok()) return std::nullopt;
  std::string bytes;
  for (const grpc::Slice& piece : slices) {
    bytes.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
  }
  return bytes;
}

grpc::Status RawCall::Finish() {
  grpc::Status status;
  call_->Finish(&status, nullptr);
  Await();
  return status;
}

std::string HealthRequest(const std::string& service) {
  if (service.empty()) return "";
  return std::string{'\x0a', static_cast<char>(service.size())} + service;
}

grpc::Status StatusOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                      const std::string& request) {
  RawCall call(channel, method, request);
  while (call.Read()) {
  }
  return call.Finish();
}

}  // namespace lossd::testing
