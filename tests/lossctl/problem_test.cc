// What lossctl bench takes for a wrong answer: any bit that the first answer to that input had not.
#include "client/lossctl/bench/problem.h"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "client/testing/fake_transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

// Answers by the first prediction's bits; `meddle` changes an answer.
class Played {
 public:
  std::function<void(LossResult& result, const LossOutputs& into)> meddle = {};

  Client MakeClient() {
    return Client(MakeFakeTransport(
        {.compute = [this](const LossSpec&, const LossInputs& inputs,
                           const LossOutputs& into) -> absl::StatusOr<LossResult> {
          LossResult result;
          result.loss = static_cast<double>(inputs.predictions.bytes.front());
          result.exact.valid_count = 1;
          for (std::byte& byte : into.gradient) byte = inputs.predictions.bytes.front();
          if (meddle) meddle(result, into);
          return result;
        }}));
  }
};

constexpr int64_t kCalls = 6;

// How many of some calls, over two inputs in turn, are wrong.
int WrongWith(std::function<void(LossResult& result, const LossOutputs& into)> meddle) {
  Played played;
  Client client = played.MakeClient();
  Problem problem({.dtype = DType::kF16, .shape = {3, 5}});
  EXPECT_TRUE(problem.Learn(client, {}).ok());
  played.meddle = std::move(meddle);
  std::vector<std::byte> gradient(problem.received_bytes());
  int wrong = 0;
  for (int64_t i = 0; i < kCalls; ++i) {
    const Verdict verdict = problem.Ask(client, {}, i, gradient);
    EXPECT_TRUE(verdict.status.ok()) << verdict.status;
    wrong += verdict.wrong ? 1 : 0;
  }
  return wrong;
}

TEST(BenchProblem, TheSameBitsAreRight) { EXPECT_EQ(WrongWith({}), 0); }

TEST(BenchProblem, AnyOtherBitIsWrong) {
  EXPECT_EQ(WrongWith([](LossResult& result, const LossOutputs&) { result.loss += 1; }), kCalls);
  EXPECT_EQ(WrongWith([](LossResult& result, const LossOutputs&) { result.weight_sum = -0.0; }),
            kCalls);
  EXPECT_EQ(WrongWith([](LossResult& result, const LossOutputs&) { ++result.exact.valid_count; }),
            kCalls);
  EXPECT_EQ(
      WrongWith([](LossResult&, const LossOutputs& into) { into.gradient[29] ^= std::byte{1}; }),
      kCalls);
}

TEST(BenchProblem, SizesAreThoseOfTheTensors) {
  const Problem problem({.dtype = DType::kF16, .shape = {3, 5, 2}});
  EXPECT_EQ(problem.elements(), 30);
  EXPECT_EQ(problem.sent_bytes(), 30 * 2 + 3 * 2 * 8);
  EXPECT_EQ(problem.received_bytes(), 30 * 2);
}

TEST(BenchProblem, AFailureIsNoWrongAnswer) {
  Client client(MakeFakeTransport({.compute = [](const LossSpec&, const LossInputs&,
                                                 const LossOutputs&) -> absl::StatusOr<LossResult> {
    return absl::InvalidArgumentError("no");
  }}));
  Problem problem({.shape = {2, 2}});
  EXPECT_EQ(problem.Learn(client, {}), absl::InvalidArgumentError("no"));
  std::vector<std::byte> gradient(problem.received_bytes());
  const Verdict verdict = problem.Ask(client, {}, 0, gradient);
  EXPECT_EQ(verdict.status, absl::InvalidArgumentError("no"));
  EXPECT_FALSE(verdict.wrong);
}

}  // namespace
}  // namespace lossd::lossctl
