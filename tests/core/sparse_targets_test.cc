// Softmax with K labels a position and the share of each: against the oracle, and against class
// probabilities that say the same.

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

// Gives a case sparse targets: unused slots, equal labels and shares of any mass among them.
void MakeSparse(int axis, Random& random, LossCase& c) {
  std::vector<int64_t> shape = LabelShape(c.predictions.desc.shape, axis, /*removed=*/true);
  shape.push_back(1 + random.Below(4));
  const int64_t classes = c.predictions.desc.shape[axis];
  const Layout layout = c.predictions.desc.layout;
  const DType dtype = random.Pick({DType::kI64, DType::kI8, DType::kF32});
  c.target_kind = TargetKind::kClassIndices;
  c.spec.ignore_labels.clear();
  c.targets = OwnedTensor::Make(dtype, shape, layout, [&](int64_t) {
    return random.OneIn(6) ? Real(-1) : Real(random.Below(classes));
  });
  c.sparse_probabilities =
      OwnedTensor::Make(random.Pick({DType::kF64, DType::kF32, DType::kBF16}), shape, layout,
                        [&](int64_t) { return random.OneIn(5) ? 0 : random.Uniform(0, 1); });
  c.spec.outputs.label_log_probabilities = false;
  auto& loss = std::get<SoftmaxLoss>(c.spec.loss);
  loss.focal_gamma.reset();
  loss.margin = {};
}

// The same as rows of shares.
OwnedTensor Spread(const LossCase& c, int axis) {
  const TensorDesc& like = c.predictions.desc;
  OwnedTensor dense =
      OwnedTensor::Make(DType::kF64, like.shape, like.layout, [](int64_t) { return Real(0); });
  const int64_t slots = c.targets.desc.shape.back();
  const int64_t positions = c.targets.size() / slots;
  int64_t outer = 1;
  int64_t inner = 1;
  for (int i = 0; i < static_cast<int>(like.shape.size()); ++i) {
    if (i == axis) continue;
    const bool slower = like.layout == Layout::kRowMajor ? i < axis : i > axis;
    (slower ? outer : inner) *= like.shape[i];
  }
  const int64_t classes = like.shape[axis];
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t j = 0; j < slots; ++j) {
      const int64_t at = like.layout == Layout::kRowMajor ? p * slots + j : j * positions + p;
      const auto label = static_cast<int64_t>(c.targets.at(at));
      if (label < 0) continue;
      const int64_t element = (p / inner * classes + label) * inner + p % inner;
      dense.set(element, dense.at(element) + c.sparse_probabilities->at(at));
    }
  }
  EXPECT_EQ(outer * inner, positions);
  return dense;
}

TEST(SparseTargets, AgreeWithTheOracleAndWithDenseOnes) {
  Random random(71);
  int cases = 0;
  for (const DType dtype : kFloatDTypes) {
    for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
      for (const auto& [rank, axis] : std::vector<std::pair<int, int>>{{1, 0}, {2, 1}, {3, 1}}) {
        for (int reduction = 1; reduction <= 7; ++reduction) {
          for (int i = 0; i < 4; ++i) {
            Factors factors = {.loss = SoftmaxLoss{}, .dtype = dtype, .layout = layout};
            factors.rank = rank;
            factors.axis = axis;
            factors.reduction = static_cast<Reduction>(reduction);
            factors.weights = i % 2 == 0 ? WeightsForm::kNone : WeightsForm::kPerClass;
            if (!factors.valid()) continue;
            LossCase c = MakeCase(factors, random);
            MakeSparse(axis, random, c);
            ASSERT_TRUE(ExpectAgreement(c, "case " + std::to_string(cases), cases % 8));
            const CoreAnswer sparse = RunCore(c);
            c.targets = Spread(c, axis);
            c.target_kind = TargetKind::kClassProbabilities;
            c.sparse_probabilities.reset();
            const CoreAnswer dense = RunCore(c);
            ASSERT_EQ(sparse.status, dense.status);
            if (sparse.status.ok()) ASSERT_EQ(BitDifference(sparse, dense), "") << "case " << cases;
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 600);
  TestLedger().Print();
}

TEST(SparseTargets, WrongOnesAreNamed) {
  LossCase c;
  c.predictions = OwnedTensor::Of(DType::kF64, {2, 3}, {0, 1, 2, 3, 4, 5});
  c.targets = OwnedTensor::Of(DType::kI64, {2, 2}, {0, 1, 3, -1});
  c.sparse_probabilities = OwnedTensor::Of(DType::kF64, {2, 2}, {1, 1, 1, 1});
  const auto message = [&] { return std::string(RunCore(c).status.message()); };
  EXPECT_EQ(message(),
            "class_indices[2] is 3; wanted a label in 0..2, or one < 0 where there is none");
  c.targets.set(2, 2);
  EXPECT_EQ(message(), "");
  c.sparse_probabilities->desc.shape = {4};
  EXPECT_EQ(message(),
            "sparse_probabilities.shape is [4]; wanted the shape of class_indices, [2,2]");
  c.targets.desc.shape = {4};
  EXPECT_EQ(message(),
            "class_indices.shape is [4]; wanted [2,K] with K in 1..1024, since "
            "sparse_probabilities are given");
  c.targets.desc.shape = c.sparse_probabilities->desc.shape = {2, 2};
  c.spec.label_smoothing = 0.1;
  EXPECT_EQ(message(), "");
  c.spec.ignore_labels = {7};
  EXPECT_EQ(message(), "ignore_labels has 1 values; wanted none with sparse_probabilities");
  c.spec.ignore_labels.clear();
  c.spec.label_smoothing = 0;
  std::get<SoftmaxLoss>(c.spec.loss).margin = SoftmaxMargin{};
  EXPECT_EQ(message(), "softmax.margin is given; wanted none with sparse_probabilities");
}

}  // namespace
}  // namespace lossd::oracle
