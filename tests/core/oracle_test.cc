// The core against the oracle: every loss x dtype x layout x rank and axis x form of the class
// weights x normalisation x reduction x kind of target, with the dtypes of the labels taking turns
// and all other options drawn at random.
#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

// Every request of this loss and dtype, in a fixed order.
template <class Visit>
void ForEachFactors(const Loss& loss, DType dtype, absl::Span<const TargetKind> kinds,
                    Visit&& visit) {
  constexpr std::pair<int, int> kRankAxis[] = {{1, 0}, {2, 0}, {2, 1}, {3, 0}, {3, 1}, {3, 2},
                                               {4, 0}, {4, 1}, {4, 2}, {4, 3}, {8, 5}};
  constexpr std::pair<WeightsForm, WeightNormalization> kWeights[] = {
      {WeightsForm::kNone, WeightNormalization::kLocal},
      {WeightsForm::kPerClass, WeightNormalization::kLocal},
      {WeightsForm::kPerClass, WeightNormalization::kGlobal},
      {WeightsForm::kPerClass, WeightNormalization::kNone},
      {WeightsForm::kOneSample, WeightNormalization::kLocal},
      {WeightsForm::kOneSample, WeightNormalization::kGlobal},
      {WeightsForm::kOneSample, WeightNormalization::kNone},
      {WeightsForm::kFull, WeightNormalization::kLocal},
      {WeightsForm::kFull, WeightNormalization::kGlobal},
      {WeightsForm::kFull, WeightNormalization::kNone}};
  int label_dtype = 0;
  for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
    for (const auto& [rank, axis] : kRankAxis) {
      for (const auto& [weights, normalization] : kWeights) {
        for (int reduction = 1; reduction <= 7; ++reduction) {
          for (const TargetKind kind : kinds) {
            const Factors factors = {.loss = loss,
                                     .dtype = dtype,
                                     .layout = layout,
                                     .rank = rank,
                                     .axis = axis,
                                     .weights = weights,
                                     .normalization = normalization,
                                     .reduction = static_cast<Reduction>(reduction),
                                     .target_kind = kind,
                                     .label_dtype = kAllDTypes[label_dtype++ / 2 % 12]};
            if (factors.valid()) visit(factors);
          }
        }
      }
    }
  }
}

class OracleTest : public ::testing::TestWithParam<std::tuple<int, DType>> {
 protected:
  static void TearDownTestSuite() { TestLedger().Print(); }
};

TEST_P(OracleTest, CrossProduct) {
  const Loss& loss = kLosses[std::get<0>(GetParam())];
  const DType dtype = std::get<1>(GetParam());
  Random random(100 * std::get<0>(GetParam()) + static_cast<int>(dtype));
  int failures = 0;
  int cases = 0;
  constexpr TargetKind kKinds[] = {TargetKind::kClassIndices, TargetKind::kClassProbabilities};
  ForEachFactors(loss, dtype, kKinds, [&](const Factors& factors) {
    if (failures >= 5) return;
    const LossCase c = MakeCase(factors, random);
    if (!ExpectAgreement(c, "case " + std::to_string(cases), cases % 8)) ++failures;
    ++cases;
  });
  EXPECT_GT(cases, 2500);
}

// Losses over elements, likewise.
TEST(OracleOfElements, CrossProduct) {
  constexpr TargetKind kKinds[] = {TargetKind::kTargetValues};
  Random random(1000);
  for (const Loss& loss : kElementLosses) {
    for (const DType dtype : kFloatDTypes) {
      int failures = 0;
      int cases = 0;
      ForEachFactors(loss, dtype, kKinds, [&](const Factors& factors) {
        if (failures >= 5) return;
        const LossCase c = MakeCase(factors, random);
        if (!ExpectAgreement(c, "case " + std::to_string(cases), cases % 8)) ++failures;
        ++cases;
      });
      EXPECT_GT(cases, 1250);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(LossAndDType, OracleTest,
                         ::testing::Combine(::testing::Range(0, 3),
                                            ::testing::ValuesIn(kFloatDTypes)),
                         [](const auto& info) {
                           return NameOf(kLosses[std::get<0>(info.param)]) + "_" +
                                  std::string(Name(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace lossd::oracle
