// One batch over three real servers: the bits of one server, whatever the loss, the options, the
// types and the layout; also when one of them dies in the middle.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lossd/client.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/support/loss_case.h"
#include "tests/support/process.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using oracle::BitDifference;
using oracle::CoreAnswer;
using oracle::CoreOutputs;
using oracle::LossCase;
using oracle::Random;

class FanOut : public testing::Test {
 protected:
  std::string List() const {
    return absl::StrCat(servers_[0].address(), ",", servers_[1].address(), ",",
                        servers_[2].address());
  }

  static CoreAnswer Ask(Client& client, const LossCase& request, const CallOptions& call) {
    CoreAnswer answer;
    answer.outputs = CoreOutputs::For(request);
    const absl::StatusOr<LossResult> result =
        client.Compute(request.spec, request.inputs(), answer.outputs.spans(), call);
    answer.status = result.status();
    if (result.ok()) answer.result = *result;
    return answer;
  }

  // The same request to one server and over all of them.
  void ExpectSame(const LossCase& request) {
    const CoreAnswer one = Ask(one_, request, {.mode = TransferMode::kStream});
    for (const int fan_out : {2, 3, 5}) {
      const CoreAnswer all =
          Ask(all_, request, {.mode = TransferMode::kStream, .fan_out = fan_out});
      ASSERT_EQ(all.status.code(), one.status.code()) << all.status << "\n" << Describe(request);
      if (!one.status.ok()) continue;
      EXPECT_TRUE(all.outputs.intact());
      ASSERT_EQ(BitDifference(all, one), "") << fan_out << " parts\n" << Describe(request);
    }
  }

  ServerProcess servers_[3];
  Client one_ = *Client::Connect(servers_[0].address(), {.block_bytes = 200});
  Client all_ = *Client::Connect(List(), {.block_bytes = 200});
};

TEST_F(FanOut, TheBitsOfOneServer) {
  Random random(101);
  constexpr Reduction kReductions[] = {
      Reduction::kPositions, Reduction::kValid, Reduction::kWeightSum, Reduction::kBatch,
      Reduction::kSum,       Reduction::kGiven, Reduction::kNone};
  constexpr oracle::WeightsForm kWeights[] = {
      oracle::WeightsForm::kNone, oracle::WeightsForm::kPerClass, oracle::WeightsForm::kOneSample,
      oracle::WeightsForm::kFull};
  int asked = 0;
  for (const Loss& loss : oracle::kLosses) {
    for (const DType dtype : oracle::kFloatDTypes) {
      for (const Reduction reduction : kReductions) {
        oracle::Factors factors;
        factors.loss = loss;
        factors.dtype = dtype;
        factors.reduction = reduction;
        factors.layout = random.Below(2) == 0 ? Layout::kRowMajor : Layout::kColumnMajor;
        factors.rank = 1 + static_cast<int>(random.Below(4));
        factors.axis = static_cast<int>(random.Below(factors.rank));
        factors.weights = kWeights[random.Below(4)];
        factors.target_kind =
            random.Below(3) == 0 ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
        if (!factors.valid()) continue;
        ++asked;
        ExpectSame(MakeCase(factors, random));
      }
    }
  }
  EXPECT_GT(asked, 40);
}

// In one message, in blocks, and over servers.
TEST_F(FanOut, ElementsHaveTheBitsOfOneMessage) {
  Random random(104);
  for (const Loss& loss : oracle::kElementLosses) {
    for (const DType dtype : oracle::kFloatDTypes) {
      for (const Reduction reduction :
           {Reduction::kPositions, Reduction::kWeightSum, Reduction::kNone}) {
        for (int axis = 0; axis < 3; ++axis) {
          oracle::Factors factors = {.loss = loss, .dtype = dtype, .rank = 3, .axis = axis};
          factors.layout = random.OneIn(2) ? Layout::kRowMajor : Layout::kColumnMajor;
          factors.reduction = reduction;
          factors.weights = oracle::WeightsForm::kPerClass;
          factors.target_kind = TargetKind::kTargetValues;
          factors.label_dtype = random.Pick({DType::kF32, DType::kF64, DType::kBF16, DType::kI32});
          const LossCase request = MakeCase(factors, random);
          ExpectSame(request);
          const CoreAnswer stream = Ask(one_, request, {.mode = TransferMode::kStream});
          const CoreAnswer unary = Ask(one_, request, {.mode = TransferMode::kUnary});
          const CoreAnswer core = oracle::RunCore(request);
          ASSERT_EQ(unary.status, core.status) << Describe(request);
          if (!core.status.ok()) continue;
          ASSERT_EQ(BitDifference(unary, core), "") << Describe(request);
          ASSERT_EQ(BitDifference(stream, core), "") << Describe(request);
        }
      }
    }
  }
}

TEST_F(FanOut, RowsThatDoNotDivideAndFewerRowsThanServers) {
  Random random(102);
  for (const int64_t rows : {1, 2, 3, 4, 7, 100, 101}) {
    for (const Reduction reduction : {Reduction::kPositions, Reduction::kValid}) {
      LossCase request = oracle::PlainCase(SoftmaxLoss{}, DType::kF32, rows, 33, random);
      request.spec.reduction = reduction;
      ExpectSame(request);
    }
  }
}

TEST_F(FanOut, ARefusalIsThatOfOneServer) {
  Random random(103);
  LossCase request = oracle::PlainCase(SoftmaxLoss{}, DType::kF32, 50, 7, random);
  request.targets.set(41, 7);
  ExpectSame(request);
  const absl::Status error =
      Ask(all_, request, {.mode = TransferMode::kStream, .fan_out = 3}).status;
  EXPECT_TRUE(absl::IsInvalidArgument(error)) << error;
}

// A batch in place, one of whose servers dies when the first block is answered: of each part most
// is on its way then, more than the sockets hold.
absl::StatusOr<LossResult> ComputeWhileOneDies(const LossCase& request,
                                               std::vector<std::byte>& memory, int max_attempts) {
  ServerProcess servers[3];
  const std::string list =
      absl::StrCat(servers[0].address(), ",", servers[1].address(), ",", servers[2].address());
  auto client = Client::Connect(list, {.retry = {.max_attempts = max_attempts}});
  // All are connected, so that each gets a part.
  for (int i = 0; i < 200; ++i) client->CheckHealth().IgnoreError();
  bool dead = false;
  const CallOptions call{
      .mode = TransferMode::kStream, .fan_out = 3, .progress = [&](int64_t, int64_t) {
        if (std::exchange(dead, true)) return;
        servers[1].process().Signal(SIGKILL);
        servers[1].process().Wait();
      }};
  LossInputs inputs = request.inputs();
  inputs.predictions.bytes = memory;
  return client->Compute(request.spec, inputs, {.gradient = absl::MakeSpan(memory)}, call);
}

TEST(FanOutLosing, OneServerInTheMiddleChangesNoBit) {
  Random random(104);
  LossCase request = oracle::PlainCase(SoftmaxLoss{}, DType::kF32, 1000, 120, random);
  request.spec.reduction = Reduction::kValid;
  request.spec.ignore_labels = {5};
  request.spec.outputs = {.gradient = true};
  // The same thousand rows many times: making that many at random would take longer than the test.
  constexpr int64_t kTimes = 150;
  const auto repeat = [](oracle::OwnedTensor& tensor) {
    const std::vector<std::byte> once = tensor.bytes;
    for (int64_t i = 1; i < kTimes; ++i) {
      tensor.bytes.insert(tensor.bytes.end(), once.begin(), once.end());
    }
    tensor.desc.shape.front() *= kTimes;
  };
  repeat(request.predictions);
  repeat(request.targets);
  const CoreAnswer want = oracle::RunCore(request);
  ASSERT_TRUE(want.status.ok()) << want.status;

  std::vector<std::byte> memory = request.predictions.bytes;
  EXPECT_TRUE(absl::IsUnavailable(ComputeWhileOneDies(request, memory, 1).status()));
  memory = request.predictions.bytes;
  const absl::StatusOr<LossResult> result = ComputeWhileOneDies(request, memory, 4);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss, want.result.loss);
  EXPECT_EQ(result->denominator, want.result.denominator);
  EXPECT_EQ(result->exact, want.result.exact);
  CoreAnswer answer = want;
  EXPECT_TRUE(std::equal(memory.begin(), memory.end(), answer.outputs.spans().gradient.begin(),
                         answer.outputs.spans().gradient.end()));
}

}  // namespace
}  // namespace lossd
