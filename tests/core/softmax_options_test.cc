// What must hold between answers of the softmax loss with options, whatever the values are.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

std::vector<Real> GradientOf(const LossCase& c) {
  const CoreAnswer answer = RunCore(c);
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  const DType dtype = c.spec.gradient_dtype.value_or(c.predictions.desc.dtype);
  std::vector<Real> values;
  for (size_t i = 0; i < answer.outputs.gradient.bytes().size(); i += SizeOf(dtype)) {
    values.push_back(Widen(dtype, answer.outputs.gradient.bytes().data() + i));
  }
  return values;
}

constexpr int64_t kRows = 40;
constexpr int64_t kClasses = 33;

LossCase CaseOf(const SoftmaxLoss& loss, DType dtype, uint64_t stream) {
  Random random(stream);
  LossCase c = PlainCase(loss, dtype, kRows, kClasses, random);
  c.spec.reduction = Reduction::kSum;
  c.spec.gradient_dtype = DType::kF64;
  return c;
}

// Adding a constant to all logits of a row changes none of these losses.
TEST(SoftmaxOptions, GradientRowsSumToZeroWithoutZLossAndSoftCap) {
  const SoftmaxLoss losses[] = {{.temperature = 0.3},
                                {.focal_gamma = 2},
                                {.focal_gamma = 0.5},
                                {.entropy_bonus = 0.5},
                                {.temperature = 2, .focal_gamma = 1, .entropy_bonus = 0.1}};
  for (const SoftmaxLoss& loss : losses) {
    for (const DType dtype : kFloatDTypes) {
      const LossCase c = CaseOf(loss, dtype, 5000);
      const std::vector<Real> gradient = GradientOf(c);
      const Answer oracle = Compute(c.spec, c.inputs());
      for (int64_t row = 0; row < kRows; ++row) {
        Real sum = 0;
        Real bound = 0;
        for (int64_t k = row * kClasses; k < (row + 1) * kClasses; ++k) {
          sum += gradient[k];
          bound += oracle.gradient.bounds[k];
        }
        EXPECT_LE(std::fabs(sum), bound) << Describe(c) << " row " << row;
      }
    }
  }
}

// With a z-loss they sum to 2 zeta lse.
TEST(SoftmaxOptions, GradientRowsOfZLossSumToItsDerivativeByAShift) {
  const double zeta = 0.125;
  LossCase c = CaseOf({.lse_square_scale = zeta}, DType::kF64, 5001);
  const std::vector<Real> gradient = GradientOf(c);
  const Answer oracle = Compute(c.spec, c.inputs());
  for (int64_t row = 0; row < kRows; ++row) {
    Real sum = 0;
    for (int64_t k = row * kClasses; k < (row + 1) * kClasses; ++k) sum += gradient[k];
    EXPECT_NEAR(sum, 2 * zeta * oracle.log_sum_exp.values[row], 1e-13) << row;
  }
}

TEST(SoftmaxOptions, FocalGammaOf0IsCrossEntropyToTheBit) {
  for (const DType dtype : kFloatDTypes) {
    const CoreAnswer focal = RunCore(CaseOf({.focal_gamma = 0}, dtype, 5002));
    const CoreAnswer plain = RunCore(CaseOf({}, dtype, 5002));
    EXPECT_EQ(BitDifference(focal, plain), "") << Name(dtype);
  }
}

// A temperature is a division of the logits; by a power of two it is exact.
TEST(SoftmaxOptions, TemperatureDividesLogits) {
  for (const DType dtype : kFloatDTypes) {
    LossCase warm = CaseOf({.temperature = 4}, dtype, 5003);
    LossCase divided = CaseOf({}, dtype, 5003);
    for (int64_t i = 0; i < divided.predictions.size(); ++i) {
      divided.predictions.set(i, divided.predictions.at(i) / 4);
    }
    const std::vector<Real> a = GradientOf(warm);
    const std::vector<Real> b = GradientOf(divided);
    const Real unit = UnitRoundoff(dtype == DType::kF64 ? DType::kF64 : DType::kF32);
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(a[i], b[i] / 4, 64 * unit * std::fabs(b[i])) << Name(dtype) << " " << i;
    }
  }
}

TEST(SoftmaxOptions, SoftCapFarAboveTheLogitsIsNone) {
  LossCase capped = CaseOf({.soft_cap = 1e12}, DType::kF64, 5004);
  const std::vector<Real> a = GradientOf(capped);
  const std::vector<Real> b = GradientOf(CaseOf({}, DType::kF64, 5004));
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-13) << i;
}

// The logit of a masked class is -inf, and not -soft_cap.
TEST(SoftmaxOptions, SoftCapLeavesMaskedClassesMasked) {
  for (const DType dtype : kFloatDTypes) {
    LossCase c = CaseOf({.soft_cap = 5}, dtype, 5005);
    LossCase less = c;
    std::vector<Real> kept;
    for (int64_t row = 0; row < kRows; ++row) {
      c.targets.set(row, std::abs(static_cast<int64_t>(c.targets.at(row))) % (kClasses - 1));
      c.predictions.set(row * kClasses + kClasses - 1, -INFINITY);
      for (int64_t k = 0; k < kClasses - 1; ++k)
        kept.push_back(c.predictions.at(row * kClasses + k));
    }
    less.targets = c.targets;
    less.predictions = OwnedTensor::Of(dtype, {kRows, kClasses - 1}, kept);
    const CoreAnswer a = RunCore(c);
    const CoreAnswer b = RunCore(less);
    ASSERT_TRUE(a.status.ok() && b.status.ok());
    EXPECT_NEAR(a.result.loss, b.result.loss, 1e-6 * b.result.loss) << Name(dtype);
    const std::vector<Real> gradient = GradientOf(c);
    for (int64_t row = 0; row < kRows; ++row) {
      EXPECT_EQ(gradient[row * kClasses + kClasses - 1], 0) << row;
    }
  }
}

// Almost certain of a wrong class, focal modulation does nothing; of the right one, its value and
// slopes are tiny and relatively right.
TEST(SoftmaxOptions, FocalModulationOfCertainRows) {
  LossCase c;
  c.spec.loss = SoftmaxLoss{.focal_gamma = 0.5};
  c.spec.reduction = Reduction::kSum;
  c.spec.outputs = AllOutputs(c.spec.loss);
  c.predictions = OwnedTensor::Of(DType::kF64, {3, 2}, {0, 60, 60, 0, 60, -INFINITY});
  c.targets = OwnedTensor::Of(DType::kI32, {3}, {0, 0, 0});
  ExpectAgreement(c);
  const std::vector<Real> gradient = GradientOf(c);
  EXPECT_NEAR(gradient[0], -1, 1e-15);
  const Real rest = std::exp(Real(-60));
  EXPECT_NEAR(gradient[2] / (-1.5L * std::sqrt(rest) * rest), 1, 1e-14);
  EXPECT_EQ(gradient[4], 0);  // u = 0: neither infinite nor NaN
}

}  // namespace
}  // namespace lossd::oracle
