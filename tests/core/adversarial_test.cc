// The core against the oracle on rows made to break something, at every length near a vector length
// or a block length, with the classes next to each other in memory and with them apart.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "tests/core/adversarial_rows.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

enum class Targets { kIndices, kSmoothed, kProbabilities };

// The label of row r: first, last, the maximum, in the last few, anywhere.
Real LabelFor(int64_t r, const std::vector<Real>& row, Random& random) {
  const auto n = static_cast<int64_t>(row.size());
  switch (r % 5) {
    case 0:
      return 0;
    case 1:
      return n - 1;
    case 2:
      return std::max_element(row.begin(), row.end()) - row.begin();
    case 3:
      return std::max<int64_t>(0, n - 1 - random.Below(7));
    default:
      return random.Below(n);
  }
}

// Each row `repeats` times, with another label each time.
LossCase CaseOf(const std::vector<AdversarialRow>& makers, int repeats, int64_t n, const Loss& loss,
                DType dtype, Layout layout, Targets targets, Random& random) {
  const auto rows = static_cast<int64_t>(makers.size()) * repeats;
  const std::vector<int64_t> shape = {rows, n};
  LossCase c;
  c.spec.loss = loss;
  c.spec.class_axis = 1;
  c.spec.outputs = AllOutputs(loss);
  // A third of the rows count 1/4, so that a weight in the wrong row shows.
  c.position_weights = OwnedTensor::Make(DType::kF32, {rows}, layout,
                                         [](int64_t r) { return r % 3 == 1 ? 0.25L : 1; });
  const auto zero = [](int64_t) { return Real(0); };
  c.predictions = OwnedTensor::Make(dtype, shape, layout, zero);
  const auto address = [&](int64_t r, int64_t k) {
    return layout == Layout::kRowMajor ? r * n + k : k * rows + r;
  };
  std::vector<Real> labels(rows);
  int64_t previous = -1;
  std::vector<Real> row;
  for (int64_t r = 0; r < rows; ++r) {
    if (r / repeats != previous) row = makers[r / repeats].make(n, dtype, random);
    previous = r / repeats;
    // Labels turn with the repeat, not with the row, so that every kind of row meets them.
    labels[r] = LabelFor(repeats >= 5 ? r : r + r / repeats, row, random);
    for (int64_t k = 0; k < n; ++k) c.predictions.set(address(r, k), row[k]);
  }
  if (targets == Targets::kProbabilities) {
    c.target_kind = TargetKind::kClassProbabilities;
    c.targets = OwnedTensor::Make(dtype, shape, layout, [&](int64_t) {
      return random.OneIn(3) ? Real(0) : random.Uniform(0, 1);
    });
    return c;
  }
  if (targets == Targets::kSmoothed) c.spec.label_smoothing = random.Pick({0.1, 1 - 1e-6});
  c.targets = OwnedTensor::Make(DType::kI64, {rows}, layout, [&](int64_t r) { return labels[r]; });
  c.spec.ignore_labels = {-1};
  for (int64_t r = 6; r < rows; r += 17) c.targets.set(r, -1);
  return c;
}

bool IsMaxFinites(const AdversarialRow& row) { return row.name == std::string("max_finites"); }

class AdversarialTest : public ::testing::TestWithParam<std::tuple<int, DType>> {
 protected:
  static void TearDownTestSuite() { TestLedger().Print(); }

  const Loss& loss() const { return kLosses[std::get<0>(GetParam())]; }
  DType dtype() const { return std::get<1>(GetParam()); }
  Random random_{1000u + 10 * std::get<0>(GetParam()) + static_cast<int>(dtype())};

  void Expect(std::vector<AdversarialRow> makers, int repeats, int64_t n, Layout layout,
              Targets targets) {
    // With every class in the loss, a sum of products of +-max_finite is beyond f64 on the way.
    if (targets != Targets::kIndices) std::erase_if(makers, IsMaxFinites);
    const LossCase c = CaseOf(makers, repeats, n, loss(), dtype(), layout, targets, random_);
    ExpectAgreement(c, makers.front().name + std::string(" and other rows"));
    if (targets != Targets::kIndices || layout != Layout::kRowMajor) return;
    // What trainers ask for is computed another way: in one pass.
    LossCase alone = c;
    alone.spec.outputs = {.gradient = true};
    ExpectAgreement(alone, makers.front().name + std::string(" and other rows, gradient alone"));
  }
};

constexpr Layout kLayouts[] = {Layout::kRowMajor, Layout::kColumnMajor};

TEST_P(AdversarialTest, ShortRows) {
  for (const int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127, 128}) {
    for (const Layout layout : kLayouts) {
      for (const Targets targets : {Targets::kIndices, Targets::kSmoothed}) {
        Expect(FiniteRows(), 5, n, layout, targets);
        Expect(NonFiniteRows(), 5, n, layout, targets);
      }
      Expect(FiniteRows(), 2, n, layout, Targets::kProbabilities);
      Expect(NonFiniteRows(), 2, n, layout, Targets::kProbabilities);
    }
  }
}

TEST_P(AdversarialTest, LongRows) {
  for (const int64_t n : {1000, 1023, 1025, 2047, 2048, 2049, 5000}) {
    for (const Layout layout : kLayouts) {
      Expect(FiniteRows(), 1, n, layout, Targets::kIndices);
      Expect(NonFiniteRows(), 1, n, layout, Targets::kIndices);
      if (n % 2 == 0) continue;
      Expect(FiniteRows(), 1, n, layout, Targets::kSmoothed);
      Expect(FiniteRows(), 1, n, layout, Targets::kProbabilities);
    }
  }
}

TEST_P(AdversarialTest, VocabularyRows) {
  const std::vector<AdversarialRow> rows = {FiniteRows()[0],  FiniteRows()[3],   FiniteRows()[7],
                                            FiniteRows()[12], FiniteRows()[13],  FiniteRows()[18],
                                            FiniteRows()[21], NonFiniteRows()[0]};
  Expect(rows, 1, 50257, Layout::kRowMajor, Targets::kIndices);
  Expect({rows[0], rows[3], rows[6]}, 1, 50257, Layout::kColumnMajor, Targets::kIndices);
  Expect({rows[1]}, 1, 50257, Layout::kRowMajor, Targets::kProbabilities);
}

INSTANTIATE_TEST_SUITE_P(LossAndDType, AdversarialTest,
                         ::testing::Combine(::testing::Range(0, 3),
                                            ::testing::ValuesIn(kFloatDTypes)),
                         [](const auto& info) {
                           return NameOf(kLosses[std::get<0>(info.param)]) + "_" +
                                  std::string(Name(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace lossd::oracle
