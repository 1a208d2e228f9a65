// Policy losses from logits: against the oracle, and against two calls that know nothing of
// policies.

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

Factors FactorsOf(DType dtype, int rank, int axis, Layout layout) {
  Factors factors = {.loss = PolicyOfLogits(), .dtype = dtype, .layout = layout};
  factors.rank = rank;
  factors.axis = axis;
  return factors;
}

TEST(PolicyOfLogits, AgreesWithTheOracle) {
  Random random(31);
  int cases = 0;
  for (const DType dtype : kFloatDTypes) {
    for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
      for (const auto& [rank, axis] : std::vector<std::pair<int, int>>{{1, 0}, {2, 1}, {3, 1}}) {
        for (int reduction = 1; reduction <= 7; ++reduction) {
          for (int i = 0; i < 8; ++i) {
            Factors factors = FactorsOf(dtype, rank, axis, layout);
            factors.reduction = static_cast<Reduction>(reduction);
            factors.label_dtype = kAllDTypes[cases % 12];
            if (!factors.valid()) continue;
            const LossCase c = MakeCase(factors, random);
            ASSERT_TRUE(ExpectAgreement(c, "case " + std::to_string(cases), cases % 8));
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 1200);
  TestLedger().Print();
}

// The slopes of the objective, found from log-probabilities, sent as upstream gradient of cross
// entropy: the gradient of the policy loss.
TEST(PolicyOfLogits, IsTwoCalls) {
  Random random(32);
  for (const int64_t rows : {1, 7, 64, 130}) {
    LossCase whole;
    whole.spec.loss = PolicyOfLogits();
    whole.spec.reduction = Reduction::kSum;
    const auto numbers = [&](std::vector<int64_t> shape, Real low, Real high) {
      return OwnedTensor::Make(DType::kF64, std::move(shape), Layout::kRowMajor,
                               [&](int64_t) { return random.Uniform(low, high); });
    };
    whole.predictions = numbers({rows, 11}, -4, 4);
    whole.targets = OwnedTensor::Make(DType::kI64, {rows}, Layout::kRowMajor,
                                      [&](int64_t) { return Real(random.Below(11)); });
    whole.advantages = numbers({rows}, -2, 2);
    whole.old_log_probabilities = numbers({rows}, -5, 0);

    LossCase labels = whole;
    labels.spec.loss = SoftmaxLoss();
    labels.spec.outputs.label_log_probabilities = true;
    labels.advantages.reset();
    labels.old_log_probabilities.reset();
    const CoreAnswer first = RunCore(labels);
    ASSERT_TRUE(first.status.ok()) << first.status;

    LossCase tokens = whole;
    PolicyLoss policy = PolicyOfLogits();
    policy.input = PolicyInput::kLogProbabilities;
    tokens.spec.loss = policy;
    tokens.target_kind = TargetKind::kNone;
    const auto bytes = first.outputs.label_log_probabilities.bytes();
    tokens.predictions = {{DType::kF64, {rows}}, {bytes.begin(), bytes.end()}};
    const CoreAnswer second = RunCore(tokens);
    ASSERT_TRUE(second.status.ok()) << second.status;

    labels.spec.outputs = OutputSet();
    const auto slopes = second.outputs.gradient.bytes();
    labels.upstream_gradient = OwnedTensor{{DType::kF64, {rows}}, {slopes.begin(), slopes.end()}};
    labels.spec.gradient_scale = -1;
    const CoreAnswer third = RunCore(labels);
    const CoreAnswer at_once = RunCore(whole);
    ASSERT_TRUE(at_once.status.ok()) << at_once.status;
    EXPECT_NEAR(at_once.result.loss, second.result.loss, 1e-12 * rows);
    for (int64_t i = 0; i < whole.predictions.size(); ++i) {
      const Real got = Widen(DType::kF64, at_once.outputs.gradient.bytes().data() + 8 * i);
      const Real want = Widen(DType::kF64, third.outputs.gradient.bytes().data() + 8 * i);
      EXPECT_NEAR(static_cast<double>(got), static_cast<double>(want), 1e-12) << i;
    }
  }
}

}  // namespace
}  // namespace lossd::oracle
