// What must hold between two answers of the core, or within one, whatever the values are.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/big_number.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"

namespace lossd::oracle {
namespace {

constexpr Real kInf = std::numeric_limits<Real>::infinity();

#define EXPECT_SAME_ANSWER(a, b) \
  EXPECT_EQ(BitDifference(a, b), "") << "LOSSD_TEST_SEED=" << TestSeed()

DType GradientDType(const LossCase& c) {
  return c.spec.gradient_dtype.value_or(c.predictions.desc.dtype);
}
std::vector<Real> Values(const GuardedBuffer& buffer, DType dtype) {
  std::vector<Real> values;
  for (size_t i = 0; i < buffer.bytes().size(); i += SizeOf(dtype)) {
    values.push_back(Widen(dtype, buffer.bytes().data() + i));
  }
  return values;
}
std::vector<Real> GradientOf(const LossCase& c, const CoreAnswer& answer) {
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  return Values(answer.outputs.gradient, GradientDType(c));
}

// A tensor with the rows (of `width` elements) of another in another order.
OwnedTensor PermuteRows(const OwnedTensor& tensor, const std::vector<int64_t>& order) {
  OwnedTensor permuted = tensor;
  const int64_t width = tensor.size() / static_cast<int64_t>(order.size());
  for (size_t row = 0; row < order.size(); ++row) {
    for (int64_t k = 0; k < width; ++k)
      permuted.set(row * width + k, tensor.at(order[row] * width + k));
  }
  return permuted;
}
OwnedTensor PermuteColumns(const OwnedTensor& tensor, const std::vector<int64_t>& order) {
  OwnedTensor permuted = tensor;
  const auto width = static_cast<int64_t>(order.size());
  for (int64_t i = 0; i < tensor.size(); ++i) {
    permuted.set(i, tensor.at(i - i % width + order[i % width]));
  }
  return permuted;
}
std::vector<int64_t> RandomOrder(int64_t n, Random& random) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  return order;
}

class EachDType : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
  Random random_{3000u + static_cast<int>(GetParam())};
};
INSTANTIATE_TEST_SUITE_P(Properties, EachDType, ::testing::ValuesIn(kFloatDTypes),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST_P(EachDType, SoftmaxGradientRowsSumToZeroAndHaveTheirSigns) {
  for (const double smoothing : {0.0, 0.2}) {
    for (const int64_t classes : {1, 2, 10, 33, 500}) {
      LossCase c = PlainCase(SoftmaxLoss{}, dtype(), 40, classes, random_);
      c.spec.label_smoothing = smoothing;
      const std::vector<Real> gradient = GradientOf(c, RunCore(c));
      const Answer oracle = Compute(c.spec, c.inputs());
      for (int64_t row = 0; row < 40; ++row) {
        Real sum = 0;
        Real bound = 0;
        for (int64_t k = row * classes; k < (row + 1) * classes; ++k) {
          sum += gradient[k];
          bound += oracle.gradient.bounds[k];
          if (smoothing > 0) continue;
          const bool is_label = k - row * classes == static_cast<int64_t>(c.targets.at(row));
          EXPECT_TRUE(is_label ? gradient[k] <= 0 : gradient[k] >= 0) << gradient[k];
          EXPECT_LE(std::fabs(gradient[k]), 1.0L / 40 * (1 + 2 * UnitRoundoff(dtype())));
        }
        EXPECT_LE(std::fabs(sum), bound) << classes << " classes, row " << row;
      }
    }
  }
}

// With logits on a grid of 2^-10 below 64, adding 4096 is exact in f32, so nothing may change.
TEST(Softmax, ShiftOfTheLogitsChangesNoBit) {
  Random random(3010);
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{50, 77}, std::vector<int64_t>{3, 20, 18}}) {
      LossCase c = PlainCase(SoftmaxLoss{}, dtype, 1, 1, random);
      c.spec.outputs.log_sum_exp = false;
      const Layout layout = Layout::kRowMajor;
      c.predictions = OwnedTensor::Make(dtype, shape, layout, [&](int64_t) {
        return Real(random.Below(1 << 17) - (1 << 16)) / 1024;
      });
      c.targets = OwnedTensor::Make(DType::kI32, LabelShape(shape, 1, true), layout,
                                    [&](int64_t) { return Real(random.Below(shape[1])); });
      LossCase shifted = c;
      for (int64_t i = 0; i < c.predictions.size(); ++i) {
        shifted.predictions.set(i, c.predictions.at(i) + 4096);
      }
      EXPECT_SAME_ANSWER(RunCore(c), RunCore(shifted));
    }
  }
}

TEST_P(EachDType, RowsGiveTheSameBitsInAnyOrder) {
  for (const Loss& loss : kLosses) {
    LossCase c = PlainCase(loss, dtype(), 61, 45, random_);
    c.position_weights = OwnedTensor::Make(DType::kF32, {61}, Layout::kRowMajor,
                                           [&](int64_t) { return random_.Uniform(0, 2); });
    const std::vector<int64_t> order = RandomOrder(61, random_);
    LossCase permuted = c;
    permuted.predictions = PermuteRows(c.predictions, order);
    permuted.targets = PermuteRows(c.targets, order);
    permuted.position_weights = PermuteRows(*c.position_weights, order);
    const CoreAnswer a = RunCore(c);
    const CoreAnswer b = RunCore(permuted);
    EXPECT_EQ(BitDifference(a, b, /*compare_outputs=*/false), "");
    const auto same_rows = [&](const GuardedBuffer& x, const GuardedBuffer& y) {
      const size_t width = x.bytes().size() / 61;
      for (size_t row = 0; row < 61; ++row) {
        EXPECT_THAT(y.bytes().subspan(row * width, width),
                    SameBits(x.bytes().subspan(order[row] * width, width)));
      }
    };
    same_rows(a.outputs.gradient, b.outputs.gradient);
    same_rows(a.outputs.position_losses, b.outputs.position_losses);
    same_rows(a.outputs.log_sum_exp, b.outputs.log_sum_exp);
    same_rows(a.outputs.argmax_hits, b.outputs.argmax_hits);
    same_rows(a.outputs.probabilities, b.outputs.probabilities);
  }
}

TEST_P(EachDType, ClassesInAnyOrderStayWithinTheBound) {
  for (const Loss& loss : kLosses) {
    LossCase c = PlainCase(loss, dtype(), 30, 53, random_);
    c.spec.outputs.argmax_hits = false;  // ties go to the lowest index
    const std::vector<int64_t> order = RandomOrder(53, random_);
    LossCase permuted = c;
    permuted.predictions = PermuteColumns(c.predictions, order);
    for (int64_t i = 0; i < 30; ++i) {
      const auto label = static_cast<int64_t>(c.targets.at(i));
      permuted.targets.set(i, std::find(order.begin(), order.end(), label) - order.begin());
    }
    const std::vector<Real> gradient = GradientOf(c, RunCore(c));
    const std::vector<Real> other = GradientOf(permuted, RunCore(permuted));
    const Answer oracle = Compute(c.spec, c.inputs());
    for (int64_t i = 0; i < 30 * 53; ++i) {
      const int64_t from = i - i % 53 + order[i % 53];
      EXPECT_THAT(other[i], NearWithin(gradient[from], 2 * oracle.gradient.bounds[from]));
    }
  }
}

// ---------------------------------------------------------------------------- layouts

// (W,H,C,N) column-major and (N,C,H,W) row-major are the same bytes and the same request.
TEST_P(EachDType, ColumnMajorIsRowMajorReversed) {
  const std::vector<int64_t> reversed = {5, 4, 7, 3};  // W, H, C, N
  const std::vector<int64_t> shape = {3, 7, 4, 5};     // N, C, H, W
  for (const Loss& loss : kLosses) {
    for (const WeightNormalization normalization :
         {WeightNormalization::kLocal, WeightNormalization::kGlobal, WeightNormalization::kNone}) {
      LossCase row;
      row.spec.loss = loss;
      row.spec.outputs = AllOutputs(loss);
      row.spec.weight_normalization = normalization;
      row.spec.reduction = Reduction::kWeightSum;
      const auto make = [&](DType type, std::vector<int64_t> extents, auto&& value) {
        return OwnedTensor::Make(type, std::move(extents), Layout::kRowMajor,
                                 [&](int64_t) { return value(); });
      };
      const auto weight = [&] { return random_.Uniform(0.1L, 2); };
      row.predictions = make(dtype(), shape, [&] { return TypicalPrediction(loss, random_); });
      row.targets = make(DType::kF32, {3, 1, 4, 5}, [&] { return Real(random_.Below(7)); });
      row.class_weights = make(DType::kF32, {7, 4, 5}, weight);
      row.position_weights = make(DType::kF64, {3, 1, 4, 5}, weight);
      LossCase column = row;
      const auto rename = [](OwnedTensor& tensor, std::vector<int64_t> extents) {
        tensor.desc.shape = std::move(extents);
        tensor.desc.layout = Layout::kColumnMajor;
      };
      rename(column.predictions, reversed);
      rename(column.targets, {5, 4, 1, 3});
      rename(*column.class_weights, {5, 4, 7});
      rename(*column.position_weights, {5, 4, 3});
      EXPECT_SAME_ANSWER(RunCore(row), RunCore(column));
    }
  }
}

TEST(Layouts, MatricesNeedNoAxis) {
  Random random(3020);
  LossCase row = PlainCase(SoftmaxLoss{}, DType::kF32, 9, 5, random);
  LossCase column = row;
  column.predictions.desc.shape = {5, 9};  // (C, N)
  column.predictions.desc.layout = Layout::kColumnMajor;
  column.targets.desc.shape = {1, 9};
  column.targets.desc.layout = Layout::kColumnMajor;
  const CoreAnswer answer = RunCore(row);
  EXPECT_SAME_ANSWER(answer, RunCore(column));
  // Labels are the same bytes in both orders, so their layout does not matter.
  column.targets.desc.layout = Layout::kRowMajor;
  EXPECT_SAME_ANSWER(answer, RunCore(column));
}

// ---------------------------------------------------------------------------- weights

TEST_P(EachDType, EqualClassWeightsAreNoClassWeights) {
  for (const Loss& loss : kLosses) {
    for (const int64_t classes : {1, 3, 7, 10, 1000}) {
      const LossCase plain = PlainCase(loss, dtype(), 12, classes, random_);
      const CoreAnswer answer = RunCore(plain);
      for (const Real value : {0.1L, 3.0L, 1e-200L, 1e200L}) {
        LossCase weighted = plain;
        weighted.class_weights = OwnedTensor::Make(DType::kF64, {classes}, Layout::kRowMajor,
                                                   [&](int64_t) { return value; });
        EXPECT_SAME_ANSWER(answer, RunCore(weighted));
      }
    }
  }
}

TEST_P(EachDType, AWeightlessRowIsAnIgnoredRow) {
  for (const Loss& loss : kLosses) {
    LossCase ignored = PlainCase(loss, dtype(), 25, 40, random_);
    ignored.spec.reduction = Reduction::kSum;
    LossCase weightless = ignored;
    ignored.spec.ignore_labels = {-1};
    weightless.position_weights = OwnedTensor::Make(DType::kF32, {25}, Layout::kRowMajor,
                                                    [](int64_t i) { return i % 4 == 2 ? 0 : 1; });
    for (int64_t i = 2; i < 25; i += 4) ignored.targets.set(i, -1);
    const CoreAnswer a = RunCore(ignored);
    const CoreAnswer b = RunCore(weightless);
    EXPECT_EQ(a.result.loss, b.result.loss);
    EXPECT_EQ(a.result.weight_sum, b.result.weight_sum);
    EXPECT_THAT(a.outputs.gradient.bytes(), SameBits(b.outputs.gradient.bytes()));
    EXPECT_THAT(a.outputs.position_losses.bytes(), SameBits(b.outputs.position_losses.bytes()));
  }
}

TEST_P(EachDType, OneHotProbabilitiesAreIndices) {
  for (const Loss& loss : kLosses) {
    const LossCase indices = PlainCase(loss, dtype(), 30, 41, random_);
    LossCase dense = indices;
    dense.target_kind = TargetKind::kClassProbabilities;
    dense.targets = OwnedTensor::Make(DType::kF16, {30, 41}, Layout::kRowMajor, [&](int64_t i) {
      return indices.targets.at(i / 41) == i % 41 ? 1 : 0;
    });
    const CoreAnswer core = RunCore(dense);
    // The dense bounds are those of the dense case; the values are the other's.
    Answer expected = Compute(dense.spec, dense.inputs());
    expected.gradient.values = Compute(indices.spec, indices.inputs()).gradient.values;
    EXPECT_EQ(Disagreement(dense, expected, core), "");
  }
}

TEST_P(EachDType, AMaskedColumnChangesNothingElse) {
  for (const int64_t classes : {3, 16, 31, 64}) {
    const LossCase c = PlainCase(SoftmaxLoss{}, dtype(), 20, classes, random_);
    LossCase wider = c;
    wider.predictions =
        OwnedTensor::Make(dtype(), {20, classes + 1}, Layout::kRowMajor, [&](int64_t i) {
          const int64_t k = i % (classes + 1);
          return k == classes ? -kInf : c.predictions.at(i / (classes + 1) * classes + k);
        });
    const Answer narrow = Compute(c.spec, c.inputs());
    const std::vector<Real> gradient = GradientOf(wider, RunCore(wider));
    for (int64_t i = 0; i < 20 * (classes + 1); ++i) {
      const int64_t k = i % (classes + 1);
      const int64_t from = i / (classes + 1) * classes + k;
      if (k == classes) {
        EXPECT_TRUE(gradient[i] == 0 && !std::signbit(gradient[i]));
      } else {
        EXPECT_THAT(gradient[i],
                    NearWithin(narrow.gradient.values[from], narrow.gradient.bounds[from]));
      }
    }
  }
}

// ---------------------------------------------------------------------------- accuracy, sums

// Margins of 20, 40 and 100: loss and label gradient keep relative accuracy. Beside the bound of 16
// u (32 u for the gradient) nothing is granted but the smallest normal number of the gradient's
// dtype.
TEST(NearCertainRows, KeepRelativeAccuracy) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Real u = UnitRoundoff(dtype);
    for (const int64_t classes : {2, 3, 17, 40}) {
      for (const Real margin : {20.0L, 40.0L, 100.0L}) {
        for (const bool apart : {false, true}) {
          LossCase c;
          c.spec.outputs = AllOutputs(c.spec.loss);
          c.spec.reduction = Reduction::kSum;
          // One row, or the same row beside a dull one so that inner is 2.
          const std::vector<int64_t> shape =
              apart ? std::vector<int64_t>{1, classes, 2} : std::vector<int64_t>{1, classes};
          const int64_t inner = apart ? 2 : 1;
          c.predictions = OwnedTensor::Make(dtype, shape, Layout::kRowMajor, [&](int64_t i) {
            return i / inner == classes - 1 && i % inner == 0 ? margin : 0;
          });
          c.targets = OwnedTensor::Make(DType::kI64, LabelShape(shape, 1, true), Layout::kRowMajor,
                                        [&](int64_t) { return Real(classes - 1); });
          const CoreAnswer core = RunCore(c);
          ASSERT_TRUE(core.status.ok()) << core.status;
          const Real rest = (classes - 1) * std::exp(-margin);
          const Real loss = Values(core.outputs.position_losses, DType::kF64)[0];
          EXPECT_THAT(loss, NearWithin(std::log1p(rest), 16 * u * std::log1p(rest)))
              << Name(dtype) << " margin " << static_cast<double>(margin) << ", inner " << inner;
          const Real slope = GradientOf(c, core)[(classes - 1) * inner];
          const Real wanted = -rest / (1 + rest);
          EXPECT_THAT(slope, NearWithin(wanted, -32 * u * wanted + SmallestNormal(dtype)))
              << Name(dtype) << " margin " << static_cast<double>(margin) << ", inner " << inner;
        }
      }
    }
  }
}

// loss_sum is the exact sum of the position losses, rounded once: checked with a model of its own.
TEST_P(EachDType, LossSumIsTheExactSumOfThePositionLosses) {
  for (const Loss& loss : kLosses) {
    LossCase c = PlainCase(loss, dtype(), 200, 12, random_);
    c.position_weights = OwnedTensor::Make(DType::kF64, {200}, Layout::kRowMajor, [&](int64_t) {
      return std::exp(random_.Uniform(-200, 200));
    });
    const CoreAnswer core = RunCore(c);
    ASSERT_TRUE(core.status.ok()) << core.status;
    BigSum sum;
    for (const Real term : Values(core.outputs.position_losses, DType::kF64)) {
      sum.Add(static_cast<double>(term));
    }
    EXPECT_EQ(core.result.loss_sum, sum.Round());
  }
}

// Data-parallel training: with the global count given, the shards' losses add up to the batch's and
// their gradients are the batch's, bit for bit.
TEST_P(EachDType, ShardsWithAGivenDenominatorAreTheBatch) {
  for (const Loss& loss : kLosses) {
    LossCase whole = PlainCase(loss, dtype(), 30, 17, random_);
    whole.spec.reduction = Reduction::kGiven;
    whole.spec.denominator = 30;
    const CoreAnswer batch = RunCore(whole);
    PartialSums merged;
    for (int64_t shard = 0; shard < 3; ++shard) {
      LossCase part = whole;
      part.predictions = OwnedTensor::Make(dtype(), {10, 17}, Layout::kRowMajor, [&](int64_t i) {
        return whole.predictions.at(shard * 170 + i);
      });
      part.targets = OwnedTensor::Make(DType::kI32, {10}, Layout::kRowMajor,
                                       [&](int64_t i) { return whole.targets.at(shard * 10 + i); });
      const CoreAnswer answer = RunCore(part);
      ASSERT_TRUE(answer.status.ok()) << answer.status;
      merged.Merge(answer.result.exact);
      const ByteSpan gradient = answer.outputs.gradient.bytes();
      EXPECT_THAT(gradient, SameBits(batch.outputs.gradient.bytes().subspan(shard * gradient.size(),
                                                                            gradient.size())));
    }
    EXPECT_EQ(merged, batch.result.exact);
  }
}

// f32 and f64 tensors with values that bf16 or f16 holds are the bf16 or f16 request.
TEST(NarrowPredictions, AreWideOnesWithTheSameValues) {
  Random random(3030);
  for (const Loss& loss : kLosses) {
    for (const DType narrow : {DType::kF16, DType::kBF16}) {
      for (const std::vector<int64_t>& shape :
           {std::vector<int64_t>{30, 70}, std::vector<int64_t>{2, 9, 35}}) {
        LossCase c = PlainCase(loss, narrow, 1, 1, random);
        c.spec.outputs.probabilities = false;  // they are in the predictions' dtype
        c.spec.gradient_dtype = DType::kF32;
        c.predictions = OwnedTensor::Make(narrow, shape, Layout::kRowMajor,
                                          [&](int64_t) { return TypicalPrediction(loss, random); });
        c.targets = OwnedTensor::Make(DType::kI32, LabelShape(shape, 1, true), Layout::kRowMajor,
                                      [&](int64_t) { return Real(random.Below(shape[1])); });
        LossCase wide = c;
        wide.predictions = OwnedTensor::Make(DType::kF32, shape, Layout::kRowMajor,
                                             [&](int64_t i) { return c.predictions.at(i); });
        EXPECT_SAME_ANSWER(RunCore(c), RunCore(wide));
      }
    }
  }
}

}  // namespace
}  // namespace lossd::oracle
