// The client library against the real server: the answer of the core, to the bit, whatever the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "core/exec/loss_run.h"
#include "lossd/client.h"
#include "lossd/losses.h"
#include "tests/support/process.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

// A request that owns its tensors.
struct Request {
  LossSpec spec;
  std::vector<int64_t> shape;
  std::vector<float> predictions;
  std::vector<int64_t> labels;
  std::vector<float> probabilities;  // used where not empty
  std::vector<double> class_weights;
  std::vector<float> position_weights;
  std::vector<double> upstream;

  LossInputs inputs() const {
    std::vector<int64_t> label_shape = shape;
    label_shape.erase(label_shape.begin() + 1);
    LossInputs in;
    in.predictions = TensorView::Of<float>(predictions, shape);
    if (probabilities.empty()) {
      in.targets = TensorView::Of<int64_t>(labels, label_shape);
    } else {
      in.target_kind = TargetKind::kClassProbabilities;
      in.targets = TensorView::Of<float>(probabilities, shape);
    }
    if (!class_weights.empty()) {
      in.class_weights = TensorView::Of<double>(class_weights, {shape[1]});
    }
    if (!position_weights.empty()) {
      in.position_weights = TensorView::Of<float>(position_weights, label_shape);
    }
    if (!upstream.empty()) in.upstream_gradient = TensorView::Of<double>(upstream, label_shape);
    return in;
  }
};

Request MakeRequest(std::vector<int64_t> shape, uint64_t stream) {
  oracle::Random random(stream);
  Request request;
  const int64_t classes = shape[1];
  const int64_t elements = *ElementCount(shape);
  request.shape = std::move(shape);
  for (int64_t i = 0; i < elements; ++i) {
    request.predictions.push_back(static_cast<float>(random.Uniform(-9, 9)));
  }
  for (int64_t i = 0; i < elements / classes; ++i) {
    request.labels.push_back(random.Below(classes));
  }
  return request;
}

Request WithEverything(Request request, uint64_t stream) {
  oracle::Random random(stream);
  request.spec.reduction = Reduction::kWeightSum;
  request.spec.label_smoothing = 0.1;
  request.spec.ignore_labels = {2};
  for (int64_t i = 0; i < request.shape[1]; ++i) {
    request.class_weights.push_back(static_cast<double>(random.Uniform(0.5L, 2)));
  }
  for (size_t i = 0; i < request.labels.size(); ++i) {
    request.position_weights.push_back(static_cast<float>(random.Uniform(0, 1)));
    request.upstream.push_back(static_cast<double>(random.Uniform(-1, 1)));
  }
  return request;
}

Request WithProbabilities(Request request, Reduction reduction) {
  request.spec.reduction = reduction;
  for (const float x : request.predictions) request.probabilities.push_back(std::abs(x) / 50);
  return request;
}

// All outputs of one request.
struct Outputs {
  explicit Outputs(const Request& request)
      : gradient(request.predictions.size(), 7),
        probabilities(request.predictions.size(), 7),
        position_losses(request.labels.size(), 7),
        log_sum_exp(request.labels.size(), 7),
        argmax_hits(request.labels.size(), 7) {}

  LossOutputs Into() {
    return {BytesOf(absl::MakeSpan(gradient)), BytesOf(absl::MakeSpan(position_losses)),
            BytesOf(absl::MakeSpan(log_sum_exp)), BytesOf(absl::MakeSpan(argmax_hits)),
            BytesOf(absl::MakeSpan(probabilities))};
  }

  std::vector<float> gradient, probabilities;
  std::vector<double> position_losses, log_sum_exp;
  std::vector<uint8_t> argmax_hits;
  LossResult result;
};

template <class T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void ExpectSame(const Outputs& got, const Outputs& want) {
  EXPECT_TRUE(SameBits(got.gradient, want.gradient));
  EXPECT_TRUE(SameBits(got.probabilities, want.probabilities));
  EXPECT_TRUE(SameBits(got.position_losses, want.position_losses));
  EXPECT_TRUE(SameBits(got.log_sum_exp, want.log_sum_exp));
  EXPECT_TRUE(SameBits(got.argmax_hits, want.argmax_hits));
  EXPECT_EQ(got.result.loss, want.result.loss);
  EXPECT_EQ(got.result.denominator, want.result.denominator);
  EXPECT_EQ(got.result.weight_sum, want.result.weight_sum);
  EXPECT_EQ(got.result.correct_count, want.result.correct_count);
  EXPECT_EQ(got.result.exact, want.result.exact);
}

Outputs InProcess(const Request& request) {
  static Executor executor(2);
  Outputs outputs(request);
  LossSpec spec = request.spec;
  const bool wanted = !request.labels.empty();  // an empty buffer is no wish
  spec.outputs = {wanted, wanted, wanted, wanted, wanted};
  const auto result = ComputeLoss(spec, request.inputs(), outputs.Into(), executor);
  EXPECT_TRUE(result.ok()) << result.status();
  if (result.ok()) outputs.result = *result;
  return outputs;
}

Outputs Remote(Client& client, const Request& request, TransferMode mode) {
  Outputs outputs(request);
  const auto result =
      client.Compute(request.spec, request.inputs(), outputs.Into(), {.mode = mode});
  EXPECT_TRUE(result.ok()) << result.status();
  if (result.ok()) outputs.result = *result;
  return outputs;
}

std::vector<Request> Requests() {
  return {MakeRequest({37, 11}, 1),
          WithEverything(MakeRequest({37, 11}, 2), 3),
          WithEverything(MakeRequest({3, 5, 7, 9}, 4), 5),
          WithProbabilities(MakeRequest({6, 4, 50}, 6), Reduction::kPositions),
          WithProbabilities(MakeRequest({6, 4, 50}, 7), Reduction::kWeightSum),
          MakeRequest({2, 3, 9000}, 8),  // runs of more than 16 KiB
          MakeRequest({0, 4}, 9)};
}

TEST(ClientServer, UnaryAndStreamGiveTheBitsOfTheCore) {
  ServerProcess server;
  for (const Request& request : Requests()) {
    SCOPED_TRACE(ShapeString(request.shape));
    const Outputs want = InProcess(request);
    for (const int64_t block_bytes : {1 << 20, 70'000, 4'000, 500, 36}) {
      if (request.predictions.size() > 10'000 && block_bytes < 4'000) continue;
      auto client = Client::Connect(server.address(), {.block_bytes = block_bytes});
      ASSERT_TRUE(client.ok()) << client.status();
      ExpectSame(Remote(*client, request, TransferMode::kStream), want);
    }
    auto client = Client::Connect(server.address());
    ExpectSame(Remote(*client, request, TransferMode::kUnary), want);
    ExpectSame(Remote(*client, request, TransferMode::kAuto), want);
  }
}

TEST(ClientServer, InPlace) {
  ServerProcess server;
  auto client = Client::Connect(server.address(), {.block_bytes = 900});
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    Request request = WithEverything(MakeRequest({5, 7, 30}, 10), 11);
    const Outputs want = InProcess(request);
    const LossOutputs into{.gradient = BytesOf(absl::MakeSpan(request.predictions))};
    const auto result = client->Compute(request.spec, request.inputs(), into, {.mode = mode});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->loss, want.result.loss);
    EXPECT_TRUE(SameBits(request.predictions, want.gradient));
  }
}

TEST(ClientServer, OverAUnixSocket) {
  char directory[] = "/tmp/lossd-e2e-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/socket";
  {
    ServerProcess server({"unix:" + path, "127.0.0.1:0"});
    const Request request = MakeRequest({64, 10}, 12);
    const Outputs want = InProcess(request);
    for (const std::string& address : server.addresses()) {
      auto client = Client::Connect(address);
      ExpectSame(Remote(*client, request, TransferMode::kStream), want);
      EXPECT_TRUE(client->CheckHealth().value_or(false));
    }
  }
  unlink(path.c_str());
  rmdir(directory);
}

TEST(ClientServer, ManyClientsAndThreadsAtOnce) {
  ServerProcess server;
  const std::vector<Request> requests = {MakeRequest({512, 100}, 13),
                                         WithEverything(MakeRequest({40, 9, 64}, 14), 15)};
  const std::vector<Outputs> want = {InProcess(requests[0]), InProcess(requests[1])};
  auto shared = Client::Connect(server.address(), {.channels = 3, .block_bytes = 20'000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      auto own = Client::Connect(server.address(), {.block_bytes = 5'000});
      Client& client = t % 2 == 0 ? *shared : *own;
      for (int i = 0; i < 10; ++i) {
        const auto mode = i % 3 == 0 ? TransferMode::kUnary : TransferMode::kStream;
        ExpectSame(Remote(client, requests[i % 2], mode), want[i % 2]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ClientServer, ManyAsynchronousCalls) {
  ServerProcess server;
  const Request request = MakeRequest({256, 50}, 16);
  const Outputs want = InProcess(request);
  std::vector<Outputs> outputs(16, Outputs(request));
  std::vector<std::future<absl::StatusOr<LossResult>>> answers;
  {
    auto client = Client::Connect(server.address(), {.block_bytes = 8'000});
    for (size_t i = 0; i < outputs.size(); ++i) {
      answers.push_back(client->ComputeAsync(
          request.spec, request.inputs(), outputs[i].Into(),
          {.mode = i % 2 == 0 ? TransferMode::kUnary : TransferMode::kStream}));
    }
  }  // waits for them
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto result = answers[i].get();
    ASSERT_TRUE(result.ok()) << result.status();
    outputs[i].result = *result;
    ExpectSame(outputs[i], want);
  }
}

TEST(ClientServer, RefusalsArriveWithTheirWordsInEveryMode) {
  ServerProcess server;
  auto client = Client::Connect(server.address(), {.block_bytes = 100});
  Request smoothed = MakeRequest({30, 8}, 17);
  smoothed.spec.label_smoothing = 1.5;
  Request mislabeled = MakeRequest({30, 8}, 18);
  mislabeled.labels[21] = 8;
  Request turned = MakeRequest({30, 8}, 19);
  turned.spec.class_axis = 5;
  const std::pair<const Request*, const char*> rows[] = {
      {&smoothed, "label_smoothing"}, {&mislabeled, "21"}, {&turned, "class_axis"}};
  for (const auto& [request, words] : rows) {
    for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
      const absl::Status error =
          client->Compute(request->spec, request->inputs(), {}, {.mode = mode}).status();
      EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument) << error;
      EXPECT_THAT(std::string(error.message()), HasSubstr(words));
    }
  }
}

TEST(ClientServer, InfoNamesTheServer) {
  ServerProcess server({"127.0.0.1:0"}, {"--max-block-bytes=3MiB"});
  auto client = Client::Connect(server.address());
  const absl::StatusOr<ServerInfo> info = client->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->numerics_version, kNumericsVersion);
  EXPECT_EQ(info->max_block_bytes, 3 << 20);
  EXPECT_EQ(info->losses.size(), kLossCount);
}

TEST(ClientServer, NobodyThereIsUnavailable) {
  std::string address;
  { address = ServerProcess().address(); }  // was free a moment ago
  auto client = Client::Connect(
      address, {.retry = {.max_attempts = 2, .initial_backoff = absl::Milliseconds(1)}});
  const Request request = MakeRequest({3, 3}, 20);
  const absl::Status error = client->Compute({}, request.inputs(), {}).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("2 attempts"));
  EXPECT_EQ(client->CheckHealth().status().code(), absl::StatusCode::kUnavailable);
}

TEST(ClientServer, AStoppedServerMeetsTheDeadline) {
  ServerProcess server;
  auto client = Client::Connect(server.address());
  const Request request = MakeRequest({64, 64}, 21);
  ASSERT_TRUE(client->Compute({}, request.inputs(), {}).ok());
  server.process().Freeze();
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    EXPECT_EQ(
        client
            ->Compute({}, request.inputs(), {}, {.timeout = absl::Milliseconds(200), .mode = mode})
            .status()
            .code(),
        absl::StatusCode::kDeadlineExceeded);
  }
}

// Most of the tensor is still lent to the connection when the deadline passes.
TEST(ClientServer, AFrozenConnectionDoesNotKeepTheCallersMemory) {
  ServerProcess server;
  auto client = Client::Connect(server.address());
  const Request request = MakeRequest({20'000, 200}, 24);
  server.process().Freeze();
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    const absl::Time start = absl::Now();
    const CallOptions call{.timeout = absl::Milliseconds(300), .mode = mode};
    EXPECT_EQ(client->Compute({}, request.inputs(), {}, call).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_LT(absl::Now() - start, absl::Seconds(10));  // keepalive would take 40
  }
  server.process().Signal(SIGCONT);
  EXPECT_TRUE(client->Compute({}, request.inputs(), {}).ok());
}

// A stream in place whose server dies in the middle, while another one takes its address.
absl::StatusOr<LossResult> ComputeWhileTheServerDies(Request& request, int max_attempts) {
  std::optional<ServerProcess> server(std::in_place);
  const std::string address = server->address();
  auto client = Client::Connect(address, {.retry = {.max_attempts = max_attempts,
                                                    .initial_backoff = absl::Milliseconds(20),
                                                    .max_backoff = absl::Milliseconds(100)},
                                          .block_bytes = 200'000});
  int blocks = 0;
  const CallOptions call{.mode = TransferMode::kStream, .progress = [&](int64_t, int64_t) {
                           if (++blocks != 5) return;
                           server->process().Signal(SIGKILL);
                           server->process().Wait();
                           server.emplace(std::vector<std::string>{address});
                         }};
  const LossOutputs into{.gradient = BytesOf(absl::MakeSpan(request.predictions))};
  return client->Compute(request.spec, request.inputs(), into, call);
}

TEST(ClientServer, AStreamOutlivesItsServer) {
  // Four times what the sockets hold: the first server cannot have answered all of it.
  Request request = WithEverything(MakeRequest({50'000, 120}, 22), 23);
  Request broken = request;
  EXPECT_EQ(ComputeWhileTheServerDies(broken, 1).status().code(), absl::StatusCode::kUnavailable);
  const Outputs want = InProcess(request);
  const auto result = ComputeWhileTheServerDies(request, 200);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss, want.result.loss);
  EXPECT_EQ(result->weight_sum, want.result.weight_sum);
  EXPECT_EQ(result->exact.loss_sum, want.result.exact.loss_sum);
  EXPECT_TRUE(SameBits(request.predictions, want.gradient));
}

}  // namespace
}  // namespace lossd
