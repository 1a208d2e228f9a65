// Tensors in memory that client and server share: the answers of the core, to the bit, without a
// tensor in any message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lossd/client.h"
#include "lossd/shared_buffer.h"
#include "server/server.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using oracle::CoreAnswer;
using oracle::LossCase;

void WaitUntil(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::yield();
}

// Hands out aligned parts of a buffer.
class Parts {
 public:
  explicit Parts(int64_t bytes) : buffer_(*SharedBuffer::Make(bytes)) {}

  MutableByteSpan Take(size_t size) {
    const MutableByteSpan part = buffer_.bytes().subspan(used_, size);
    used_ += (size + 63) / 64 * 64;
    return part;
  }
  MutableByteSpan Copy(ByteSpan bytes) {
    const MutableByteSpan part = Take(bytes.size());
    std::copy(bytes.begin(), bytes.end(), part.begin());
    return part;
  }

 private:
  SharedBuffer buffer_;
  size_t used_ = 0;
};

// A server without streams, and a client that sends nothing else but what lies in shared memory.
class SharedMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Serve("127.0.0.1:0");
    ClientOptions options;
    options.shared_memory = Socket();
    options.unary_limit_bytes = 0;
    client_ = std::make_unique<Client>(*Client::Connect(server_->addresses().front(), options));
  }

  std::string Socket() const { return "unix:" + folder_.Path("regions"); }

  void Serve(const std::string& address) {
    ServerOptions options;
    options.listen = {address};
    options.shared_memory = Socket();
    options.limits.max_tensor_bytes = 0;
    auto server = Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // The case, with everything large in shared memory.
  CoreAnswer RunShared(const LossCase& loss_case, bool in_place) {
    LossInputs inputs = loss_case.inputs();
    CoreAnswer answer{.status = {}, .result = {}, .outputs = oracle::CoreOutputs::For(loss_case)};
    LossOutputs spans = answer.outputs.spans();
    Parts parts(int64_t{1} << 22);
    inputs.predictions.bytes = parts.Copy(inputs.predictions.bytes);
    if (inputs.target_kind != TargetKind::kClassIndices) {
      inputs.targets.bytes = parts.Copy(inputs.targets.bytes);
    }
    if (inputs.second_predictions) {
      inputs.second_predictions->bytes = parts.Copy(inputs.second_predictions->bytes);
    }
    LossOutputs into = spans;
    for (MutableByteSpan LossOutputs::*large :
         {&LossOutputs::gradient, &LossOutputs::second_gradient, &LossOutputs::probabilities}) {
      if (!(spans.*large).empty()) into.*large = parts.Take((spans.*large).size());
    }
    if (in_place && into.gradient.size() == inputs.predictions.bytes.size()) {
      const ByteSpan there = inputs.predictions.bytes;
      into.gradient = {const_cast<std::byte*>(there.data()), there.size()};
    }
    const absl::StatusOr<LossResult> result = client_->Compute(loss_case.spec, inputs, into);
    answer.status = result.status();
    if (result.ok()) answer.result = *result;
    for (MutableByteSpan LossOutputs::*large :
         {&LossOutputs::gradient, &LossOutputs::second_gradient, &LossOutputs::probabilities}) {
      std::copy((into.*large).begin(), (into.*large).end(), (spans.*large).begin());
    }
    return answer;
  }

  void ExpectCoresBits(const LossCase& loss_case) {
    const CoreAnswer core = oracle::RunCore(loss_case);
    for (const bool in_place : {false, true}) {
      SCOPED_TRACE(Describe(loss_case) + (in_place ? " in place" : ""));
      const CoreAnswer shared = RunShared(loss_case, in_place);
      ASSERT_EQ(shared.status.code(), core.status.code()) << shared.status;
      if (!core.status.ok()) continue;
      EXPECT_EQ(BitDifference(shared, core), "");
      ++compared_;
    }
  }

  TempDir folder_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  int compared_ = 0;  // answers with the core's
};

constexpr int64_t kRows = 37;
constexpr int64_t kClasses = 203;

TEST_F(SharedMemoryTest, EveryLossAndDTypeHasTheBitsOfTheCore) {
  oracle::Random random(1);
  for (const auto* losses : {&oracle::kLosses, &oracle::kElementLosses, &oracle::kRowLosses}) {
    for (const Loss& loss : *losses) {
      for (const DType dtype : oracle::kFloatDTypes) {
        for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
          oracle::Factors factors = {.loss = loss, .dtype = dtype, .layout = layout};
          factors.shape = {kRows, kClasses};
          if (losses == &oracle::kElementLosses) factors.target_kind = TargetKind::kTargetValues;
          ExpectCoresBits(oracle::MakeCase(factors, random));
        }
      }
    }
  }
  EXPECT_GT(compared_, 300);
}

TEST_F(SharedMemoryTest, DenseTargetsHaveTheBitsOfTheCore) {
  oracle::Random random(2);
  for (const DType dtype : oracle::kFloatDTypes) {
    for (const Reduction reduction : {Reduction::kPositions, Reduction::kWeightSum}) {
      LossCase loss_case = oracle::TypicalCase(SoftmaxLoss(), dtype, {kRows, kClasses},
                                               TargetKind::kClassProbabilities, random);
      loss_case.spec.reduction = reduction;
      ExpectCoresBits(loss_case);
    }
  }
}

// After a call, whatever became of it, its memory is the caller's.
TEST_F(SharedMemoryTest, ACallThatWasGivenUpWritesNothingAfterwards) {
  constexpr int64_t kLongRows = 512;
  constexpr int64_t kLongClasses = 32000;
  const SharedBuffer buffer = *SharedBuffer::Make(2 * kLongRows * kLongClasses * 8);
  const absl::Span<double> values = buffer.As<double>();
  const absl::Span<double> predictions = values.first(kLongRows * kLongClasses);
  const absl::Span<double> gradient = values.subspan(kLongRows * kLongClasses);
  const std::vector<int64_t> labels(kLongRows, 3);
  LossInputs inputs;
  inputs.predictions = TensorView::Of<double>(predictions, {kLongRows, kLongClasses});
  inputs.targets = TensorView::Of<int64_t>(labels, {kLongRows});
  const LossOutputs into = {.gradient = BytesOf(gradient)};
  ASSERT_TRUE(client_->Compute({}, inputs, into).ok());
  for (const int milliseconds : {5, 10, 20}) {
    const auto result =
        client_->Compute({}, inputs, into, {.timeout = absl::Milliseconds(milliseconds)});
    std::fill(gradient.begin(), gradient.end(), 7.0);
    WaitUntil([this] { return server_->live_calls() == 0; });
    EXPECT_EQ(std::count(gradient.begin(), gradient.end(), 7.0), gradient.size());
  }
}

// The program, in its sandbox.
TEST_F(SharedMemoryTest, TheProgramTakesMemoryUntilItIsKilled) {
  oracle::Random random(6);
  const LossCase loss_case = oracle::PlainCase(SoftmaxLoss(), DType::kF32, kRows, kClasses, random);
  const CoreAnswer core = oracle::RunCore(loss_case);
  const std::string socket = "unix:" + folder_.Path("of_program");
  ServerProcess program({"127.0.0.1:0"}, {"--shared-memory=" + socket, "--max-tensor-bytes=0"});
  ClientOptions options;
  options.shared_memory = socket;
  options.unary_limit_bytes = 0;
  options.retry.max_attempts = 1;
  client_ = std::make_unique<Client>(*Client::Connect(program.address(), options));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(BitDifference(RunShared(loss_case, true), core), "");
  }
  program.process().Signal(SIGKILL);
  program.process().Wait();
  EXPECT_FALSE(RunShared(loss_case, true).status.ok());
}

// What lies elsewhere goes the usual way, which this server does not have.
TEST_F(SharedMemoryTest, OtherMemoryIsNotShared) {
  oracle::Random random(5);
  const LossCase loss_case = oracle::PlainCase(SoftmaxLoss(), DType::kF32, kRows, kClasses, random);
  oracle::CoreOutputs outputs = oracle::CoreOutputs::For(loss_case);
  EXPECT_EQ(client_->Compute(loss_case.spec, loss_case.inputs(), outputs.spans()).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server_->shared_regions(), 0);
}

TEST_F(SharedMemoryTest, ARegionGoesWithItsBuffer) {
  oracle::Random random(3);
  const LossCase loss_case = oracle::PlainCase(SoftmaxLoss(), DType::kF32, kRows, kClasses, random);
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(RunShared(loss_case, true).status.ok());
    WaitUntil([this] { return server_->shared_regions() == 0; });
  }
  EXPECT_EQ(server_->admission().granted_bytes, 0);
}

TEST_F(SharedMemoryTest, MemoryIsSharedAnewAfterARestart) {
  oracle::Random random(4);
  const LossCase loss_case = oracle::PlainCase(SoftmaxLoss(), DType::kF32, kRows, kClasses, random);
  const CoreAnswer core = oracle::RunCore(loss_case);
  Parts parts(1 << 20);
  LossInputs inputs = loss_case.inputs();
  inputs.predictions.bytes = parts.Copy(inputs.predictions.bytes);
  const MutableByteSpan gradient = parts.Take(inputs.predictions.bytes.size());
  for (int round = 0; round < 3; ++round) {
    std::fill(gradient.begin(), gradient.end(), std::byte{0});
    const auto result = client_->Compute(loss_case.spec, inputs, {.gradient = gradient});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->loss, core.result.loss);
    EXPECT_EQ(std::memcmp(gradient.data(), core.outputs.gradient.bytes().data(), gradient.size()),
              0);
    EXPECT_EQ(server_->shared_regions(), 1);
    const std::string address = server_->addresses().front();
    server_ = nullptr;
    Serve(address);
  }
}

}  // namespace
}  // namespace lossd
