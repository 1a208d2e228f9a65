// Losses of whole rows: against the oracle, and what they are in terms of others.

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

TEST(RowLosses, AgreeWithTheOracle) {
  Random random(41);
  int cases = 0;
  std::vector<Loss> losses = kRowLosses;
  losses.push_back(SeveralQuantilesLoss());
  for (const Loss& loss : losses) {
    for (const DType dtype : kFloatDTypes) {
      for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
        for (const auto& [rank, axis] : std::vector<std::pair<int, int>>{{1, 0}, {2, 1}, {3, 1}}) {
          for (int reduction = 1; reduction <= 7; ++reduction) {
            for (int i = 0; i < 4; ++i) {
              Factors factors = {.loss = loss, .dtype = dtype, .layout = layout};
              factors.rank = rank;
              factors.axis = axis;
              factors.reduction = static_cast<Reduction>(reduction);
              factors.weights = i == 3 ? WeightsForm::kPerClass : WeightsForm::kNone;
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
  }
  EXPECT_GT(cases, 4000);
  TestLedger().Print();
}

std::vector<double> NumbersOf(absl::Span<const std::byte> bytes) {
  std::vector<double> numbers(bytes.size() / sizeof(double));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

LossCase Distilled(const DistillationLoss& loss, const std::vector<Real>& student,
                   const std::vector<Real>& teacher) {
  LossCase c;
  c.spec.loss = loss;
  const auto count = static_cast<int64_t>(student.size());
  c.predictions = OwnedTensor::Of(DType::kF64, {1, count}, student);
  c.second_predictions = OwnedTensor::Of(DType::kF64, {1, count}, teacher);
  c.target_kind = TargetKind::kNone;
  return c;
}

// A masked class is masked on both sides; where one of them masks alone, the divergence says so.
TEST(RowLosses, MaskedClassesOfATeacher) {
  constexpr Real kInf = std::numeric_limits<Real>::infinity();
  DistillationLoss loss;
  const CoreAnswer both = RunCore(Distilled(loss, {1, 2, -kInf}, {1, 0, -kInf}));
  const CoreAnswer without = RunCore(Distilled(loss, {1, 2}, {1, 0}));
  ASSERT_TRUE(both.status.ok());
  EXPECT_EQ(both.result.loss, without.result.loss);
  EXPECT_EQ(NumbersOf(both.outputs.gradient.bytes())[2], 0);
  const CoreAnswer unseen = RunCore(Distilled(loss, {1, -kInf}, {1, 0}));
  EXPECT_EQ(unseen.result.loss, static_cast<double>(kInf));
  EXPECT_EQ(unseen.result.nonfinite_count, 1);
  loss.divergence = Divergence::kJensenShannon;
  const CoreAnswer mixed = RunCore(Distilled(loss, {1, -kInf}, {1, 0}));
  EXPECT_TRUE(std::isfinite(mixed.result.loss));
}

TEST(RowLosses, JensenShannonIsSymmetric) {
  Random random(43);
  DistillationLoss loss;
  loss.divergence = Divergence::kJensenShannon;
  std::vector<Real> a;
  std::vector<Real> b;
  for (int k = 0; k < 33; ++k) {
    a.push_back(random.Uniform(-5, 5));
    b.push_back(random.Uniform(-5, 5));
  }
  const double one = RunCore(Distilled(loss, a, b)).result.loss;
  EXPECT_NEAR(RunCore(Distilled(loss, b, a)).result.loss, one, 1e-14 * one);
}

}  // namespace
}  // namespace lossd::oracle
