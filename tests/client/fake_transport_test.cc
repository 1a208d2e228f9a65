#include "client/testing/fake_transport.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>

namespace lossd {
namespace {

// Loss: the number of labels. Gradient: the predictions negated, as bytes.
absl::StatusOr<LossResult> Negate(const LossSpec&, const LossInputs& in, const LossOutputs& into) {
  for (size_t i = 0; i + 4 <= into.gradient.size(); i += 4) {
    float value;
    std::memcpy(&value, in.predictions.bytes.data() + i, 4);
    value = -value;
    std::memcpy(into.gradient.data() + i, &value, 4);
  }
  LossResult result;
  result.loss = static_cast<double>(in.targets.bytes.size() / 4);
  return result;
}

struct Batch {
  std::vector<float> logits = {1, 2, 3, 4, 5, 6};
  std::vector<int32_t> labels = {0, 2};
  LossInputs inputs() const {
    LossInputs in;
    in.predictions = TensorView::Of<float>(logits, {2, 3});
    in.targets = TensorView::Of<int32_t>(labels, {2});
    return in;
  }
};

TEST(FakeTransport, ComputesByTheFunctionInBothModes) {
  Client client(MakeFakeTransport({.compute = Negate}), {.block_bytes = 12});
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    Batch batch;
    const auto result = client.Compute(
        {}, batch.inputs(), {.gradient = BytesOf(absl::MakeSpan(batch.logits))}, {.mode = mode});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->loss, 2);
    EXPECT_EQ(batch.logits, (std::vector<float>{-1, -2, -3, -4, -5, -6}));
  }
}

TEST(FakeTransport, UnavailableIsReplayedInNoTime) {
  std::atomic<int> calls = 0;
  Client client(MakeFakeTransport(
      {.compute = [&](const auto&, const auto&, const auto&) -> absl::StatusOr<LossResult> {
        if (++calls < 3) return absl::UnavailableError("restarting");
        LossResult result;
        result.loss = 7;
        return result;
      }}));
  const Batch batch;
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    calls = 0;
    EXPECT_EQ(client.Compute({}, batch.inputs(), {}, {.mode = mode})->loss, 7);
    EXPECT_EQ(calls, 3);
  }
}

TEST(FakeTransport, ErrorsArriveAsTheyAre) {
  const absl::Status error = absl::ResourceExhaustedError("too large");
  Client client(MakeFakeTransport({.compute = [&](const auto&, const auto&, const auto&)
                                       -> absl::StatusOr<LossResult> { return error; }}));
  EXPECT_EQ(client.Compute({}, Batch().inputs(), {}).status(), error);
}

TEST(FakeTransport, InfoAndHealth) {
  FakeService service;
  service.info = {.version = "1.2.3",
                  .numerics_version = 4,
                  .simd_target = "AVX3",
                  .threads = 5,
                  .losses = {"softmax", "nll"},
                  .prediction_dtypes = {DType::kF32, DType::kBF16},
                  .label_dtypes = {DType::kI64},
                  .max_unary_bytes = 6,
                  .max_block_bytes = 7,
                  .max_side_bytes = 8,
                  .max_tensor_bytes = int64_t{1} << 40};
  Client up(MakeFakeTransport(service));
  const absl::StatusOr<ServerInfo> info = up.GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(*info, service.info);
  EXPECT_TRUE(*up.CheckHealth());
  service.serving = false;
  EXPECT_FALSE(*Client(MakeFakeTransport(service)).CheckHealth("lossd.v1.LossService"));
}

}  // namespace
}  // namespace lossd
