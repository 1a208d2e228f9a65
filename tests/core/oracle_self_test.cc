// The oracle against closed forms, against its own central differences, and against the worked
// example of docs/semantics.md. No code of the core takes part.
#include <cmath>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"
#include "tests/core/matchers.h"
#include "tests/support/loss_case.h"
#include "tests/support/oracle.h"
#include "tests/support/oracle_shape.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kTiny = 1e-18L;  // a few roundings of long double

Answer RowOf(const Loss& loss, const std::vector<Real>& x, int label) {
  LossCase one;
  one.spec.loss = loss;
  one.predictions = OwnedTensor::Of(DType::kF64, {1, static_cast<int64_t>(x.size())}, x);
  one.targets = OwnedTensor::Of(DType::kI64, {1}, {Real(label)});
  return Compute(one.spec, one.inputs());
}

struct RowCase {
  const char* name;
  std::vector<Real> x;
  int label;
  Real loss;
  Real label_gradient;
};

TEST(Oracle, SoftmaxClosedForms) {
  const Real e40 = std::exp(Real(-40));
  const RowCase rows[] = {
      // name, logits, label, loss, d loss / d x_label
      {"one_class", {7}, 0, 0, 0},
      {"two_equal", {3, 3}, 1, std::log(Real(2)), -0.5L},
      {"far_below", {-2e4L, -2e4L}, 0, std::log(Real(2)), -0.5L},
      {"far_above", {2e4L, 2e4L}, 0, std::log(Real(2)), -0.5L},
      {"hopeless_label", {0, 200}, 0, 200, -1},
      {"near_certain", {40, 0}, 0, std::log1p(e40), -e40 / (1 + e40)},
      {"masked_class", {-kInf, 0}, 1, 0, 0},
      {"masked_label", {-kInf, 0}, 0, kInf, -1},
      {"denormals", {5e-324L, 0, -5e-324L}, 0, std::log(Real(3)), -2 / Real(3)},
  };
  for (const RowCase& row : rows) {
    const Answer answer = RowOf(SoftmaxLoss{}, row.x, row.label);
    EXPECT_THAT(answer.loss.values[0], NearWithin(row.loss, kTiny * row.loss)) << row.name;
    EXPECT_THAT(answer.gradient.values[row.label],
                NearWithin(row.label_gradient, kTiny * std::fabs(row.label_gradient)))
        << row.name;
  }
}

TEST(Oracle, NonFiniteRowsAreNanAndCounted) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  for (const std::vector<Real>& x :
       {std::vector<Real>{nan, 0}, std::vector<Real>{0, kInf}, std::vector<Real>{-kInf, -kInf}}) {
    const Answer answer = RowOf(SoftmaxLoss{}, x, 0);
    EXPECT_TRUE(std::isnan(answer.loss.values[0]));
    EXPECT_TRUE(std::isnan(answer.gradient.values[0]));
    EXPECT_TRUE(std::isnan(answer.gradient.values[1]));
    EXPECT_EQ(answer.nonfinite_count, 1);
  }
}

TEST(Oracle, MultinomialAndNllClosedForms) {
  const Answer multinomial = RowOf(MultinomialLogisticLoss{}, {0.25L, 0.5L}, 0);
  EXPECT_THAT(multinomial.loss.values[0], NearWithin(std::log(Real(4)), kTiny));
  EXPECT_EQ(multinomial.gradient.values, (std::vector<Real>{-4, 0}));

  const Answer clamped = RowOf(MultinomialLogisticLoss{}, {0, 1}, 0);
  EXPECT_THAT(clamped.loss.values[0], NearWithin(-std::log(Real(1e-20)), kTiny * 50));
  EXPECT_THAT(clamped.gradient.values[0], NearWithin(-1 / Real(1e-20), 1));
  EXPECT_EQ(clamped.clamped_count, 1);

  const Answer nll = RowOf(NllLoss{}, {-1.5L, -0.25L}, 1);
  EXPECT_EQ(nll.loss.values[0], 0.25L);
  EXPECT_EQ(nll.gradient.values, (std::vector<Real>{0, -1}));
}

TEST(Oracle, SmoothingClosedForm) {
  LossCase one;
  one.spec.label_smoothing = 0.25;
  one.predictions = OwnedTensor::Of(DType::kF64, {1, 2}, {1, 0});
  one.targets = OwnedTensor::Of(DType::kI64, {1}, {0});
  const Answer answer = Compute(one.spec, one.inputs());
  const Real log_sum = std::log1p(std::exp(Real(-1)));  // of s_0, negated; that of s_1 is 1 more
  EXPECT_THAT(answer.loss.values[0], NearWithin(0.875L * log_sum + 0.125L * (1 + log_sum), kTiny));
  EXPECT_EQ(answer.weight_sum.values[0], 1);
}

TEST(Oracle, AddressesInBothLayouts) {
  const std::vector<int64_t> shape = {2, 3, 4};
  EXPECT_EQ(Address({1, 0, 2}, shape, Layout::kRowMajor), 14);
  EXPECT_EQ(Address({1, 0, 2}, shape, Layout::kColumnMajor), 13);
  EXPECT_EQ(Address({0, 2, 1}, shape, Layout::kRowMajor), 9);
  EXPECT_EQ(Address({0, 2, 1}, shape, Layout::kColumnMajor), 10);
  EXPECT_EQ(AllIndices(shape).size(), 24u);
  EXPECT_EQ(AllIndices({2, 0, 4}).size(), 0u);
}

// The axis that a spec leaves open, and the batch dimension.
TEST(Oracle, DefaultAxes) {
  const auto geometry = [](std::vector<int64_t> shape, Layout layout) {
    return GeometryOf(LossSpec(), {DType::kF32, std::move(shape), layout});
  };
  EXPECT_EQ(geometry({5}, Layout::kRowMajor).class_axis, 0);
  EXPECT_EQ(geometry({5, 6, 7, 8}, Layout::kRowMajor).class_axis, 1);
  EXPECT_EQ(geometry({5, 6, 7, 8}, Layout::kRowMajor).batch_axis, 0);
  EXPECT_EQ(geometry({5, 6, 7, 8}, Layout::kColumnMajor).class_axis, 2);
  EXPECT_EQ(geometry({5, 6, 7, 8}, Layout::kColumnMajor).batch_axis, 3);
}

TEST(Oracle, WorkedExample) {
  struct Expected {
    std::optional<WeightNormalization> normalization;
    Real loss;
    std::vector<Real> gradient;
  };
  const Expected table[] = {
      {std::nullopt,
       0.2529341424452772L,
       {.022507643292595L, .061182117763699L, -.083689761056295L, -.113362653183455L,
        .030487913077432L, .082874740106023L}},
      {WeightNormalization::kLocal,
       0.2283685623337337L,
       {.033761464938893L, .091773176645549L, -.125534641584442L, -.056681326591728L,
        .015243956538716L, .041437370053011L}},
      {WeightNormalization::kGlobal,
       0.2283685623337337L,
       {.033761464938893L, .091773176645549L, -.125534641584442L, -.056681326591728L,
        .015243956538716L, .041437370053011L}},
      {WeightNormalization::kNone,
       0.4567371246674674L,
       {.067522929877785L, .183546353291098L, -.251069283168884L, -.113362653183455L,
        .030487913077432L, .082874740106023L}},
  };
  for (const Expected& expected : table) {
    LossCase example;
    example.predictions = OwnedTensor::Of(DType::kF64, {2, 3}, {1, 2, 3, 0.5L, -1, 0});
    example.targets = OwnedTensor::Of(DType::kI64, {2}, {2, 0});
    example.spec.loss_weight = 0.5;
    if (expected.normalization) {
      example.class_weights = OwnedTensor::Of(DType::kF64, {3}, {1, 2, 3});
      example.spec.weight_normalization = expected.normalization;
    }
    const Answer answer = Compute(example.spec, example.inputs());
    EXPECT_THAT(answer.loss.values[0], NearWithin(expected.loss, 3e-16L));
    for (int i = 0; i < 6; ++i) {
      EXPECT_THAT(answer.gradient.values[i], NearWithin(expected.gradient[i], 1e-15L)) << i;
    }
  }
}

// A random f64 case with every option that has a derivative.
LossCase Differentiable(Random& random, const Loss& loss) {
  LossCase c;
  c.spec.loss = loss;
  const bool probabilities = random.OneIn(2);
  const Layout layout = random.OneIn(2) ? Layout::kRowMajor : Layout::kColumnMajor;
  const std::vector<int64_t> shape = {2, 3, 4};
  c.spec.class_axis = static_cast<int>(random.Below(3));
  std::vector<int64_t> labels = shape;
  const int64_t classes = shape[*c.spec.class_axis];
  labels[*c.spec.class_axis] = 1;
  const auto uniform = [&random](Real low, Real high) {
    return [&random, low, high](int64_t) { return random.Uniform(low, high); };
  };
  const bool multinomial = std::holds_alternative<MultinomialLogisticLoss>(loss);
  c.predictions = OwnedTensor::Make(DType::kF64, shape, layout,
                                    uniform(multinomial ? 0.1L : -4, multinomial ? 0.9L : 4));
  if (probabilities) {
    c.target_kind = TargetKind::kClassProbabilities;
    c.targets = OwnedTensor::Make(DType::kF64, shape, layout, uniform(0, 1));
  } else {
    c.targets = OwnedTensor::Make(DType::kI64, labels, layout,
                                  [&](int64_t) { return Real(random.Below(classes)); });
    if (random.OneIn(3)) c.spec.ignore_labels = {0};
  }
  c.class_weights = OwnedTensor::Make(DType::kF64, shape, layout, uniform(0.1L, 2));
  c.spec.weight_normalization = WeightNormalization::kLocal;
  c.position_weights = OwnedTensor::Make(DType::kF64, labels, layout, uniform(0, 2));
  c.spec.label_smoothing = random.OneIn(2) ? 0.125 : 0;
  c.spec.loss_weight = 0.75;
  c.spec.reduction = random.Pick({Reduction::kPositions, Reduction::kBatch, Reduction::kSum});
  if (*c.spec.class_axis == 0 || *c.spec.class_axis == 2) c.spec.reduction = Reduction::kPositions;
  return c;
}

void ExpectCentralDifferences(LossCase c) {
  const double step = std::ldexp(1.0, -14);
  const Answer answer = Compute(c.spec, c.inputs());
  for (int64_t i = 0; i < c.predictions.size(); ++i) {
    const Real x = c.predictions.at(i);
    const auto loss_at = [&](Real steps) {
      c.predictions.set(i, x + steps * step);
      const Real moved = c.predictions.at(i);  // after rounding to f64
      const Real loss = Compute(c.spec, c.inputs()).loss.values[0];
      c.predictions.set(i, x);
      return std::make_pair(moved, loss);
    };
    // Two central differences, extrapolated to step 0: an error of order step^4.
    const auto slope = [&](Real steps) {
      const auto [x1, l1] = loss_at(steps);
      const auto [x0, l0] = loss_at(-steps);
      return (l1 - l0) / (x1 - x0);
    };
    const Real difference = (4 * slope(1) - slope(2)) / 3;
    ASSERT_NEAR(answer.gradient.values[i], difference, 1e-11L)
        << "element " << i << " of\n"
        << Describe(c) << "\nLOSSD_TEST_SEED=" << TestSeed();
  }
}

TEST(Oracle, GradientIsTheCentralDifferenceOfTheLoss) {
  Random random(1);
  for (int round = 0; round < 60; ++round) {
    const Loss losses[] = {SoftmaxLoss{}, MultinomialLogisticLoss{}, NllLoss{}};
    ExpectCentralDifferences(Differentiable(random, losses[round % 3]));
  }
}

TEST(Oracle, GradientIsTheCentralDifferenceOfTheLossWithOptions) {
  const SoftmaxLoss losses[] = {
      {.lse_square_scale = 0.25},
      {.soft_cap = 2},
      {.temperature = 0.5},
      {.entropy_bonus = 0.5},
      {.focal_gamma = 2},
      {.lse_square_scale = 0.1, .focal_gamma = 0.5},
      {.lse_square_scale = 0.1, .soft_cap = 3, .temperature = 1.5, .entropy_bonus = 0.3}};
  Random random(2);
  for (int round = 0; round < 70; ++round) {
    const SoftmaxLoss& loss = losses[round % 7];
    LossCase c = Differentiable(random, loss);
    if (loss.focal_gamma && c.target_kind != TargetKind::kClassIndices) continue;
    if (loss.focal_gamma) c.spec.label_smoothing = 0;
    ExpectCentralDifferences(std::move(c));
  }
}

TEST(Real, EveryF16AndBF16SurvivesTheRoundTrip) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (int bits = 0; bits < 65536; ++bits) {
      const auto pattern = static_cast<uint16_t>(bits);
      std::byte bytes[2];
      std::memcpy(bytes, &pattern, 2);
      const Real value = Widen(dtype, bytes);
      std::byte again[2];
      Store(dtype, value, again);
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(Widen(dtype, again)));
      } else {
        EXPECT_EQ(std::memcmp(bytes, again, 2), 0) << bits;
      }
    }
  }
}

// bf16 is the upper half of f32, and the compiler knows f32.
TEST(Real, BF16IsTheUpperHalfOfF32) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint32_t wide = bits << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    const auto pattern = static_cast<uint16_t>(bits);
    const Real decoded = Widen(DType::kBF16, reinterpret_cast<const std::byte*>(&pattern));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(decoded));
    } else {
      EXPECT_EQ(decoded, value);
    }
  }
}

TEST(Real, KnownF16Values) {
  const std::pair<uint16_t, Real> table[] = {{0x3c00, 1},
                                             {0xc000, -2},
                                             {0x7bff, 65504},
                                             {0x0001, std::ldexp(Real(1), -24)},
                                             {0x0400, std::ldexp(Real(1), -14)},
                                             {0x3555, 0.333251953125L},
                                             {0x7c00, kInf}};
  for (const auto& [bits, value] : table) {
    EXPECT_EQ(Widen(DType::kF16, reinterpret_cast<const std::byte*>(&bits)), value);
  }
}

TEST(Real, RoundToAgreesWithTheHardware) {
  Random random(2);
  for (int i = 0; i < 20000; ++i) {
    const Real value = std::ldexp(random.Uniform(-2, 2), static_cast<int>(random.Below(400)) - 200);
    const auto exact = static_cast<double>(value);
    EXPECT_EQ(RoundTo(DType::kF32, exact), static_cast<float>(exact));
    EXPECT_EQ(RoundTo(DType::kF64, value), static_cast<double>(value));
  }
  // Ties go to even; beyond the largest finite number lies infinity.
  EXPECT_EQ(RoundTo(DType::kF16, 2049), 2048);
  EXPECT_EQ(RoundTo(DType::kF16, 2051), 2052);
  EXPECT_EQ(RoundTo(DType::kF16, 65519), 65504);
  EXPECT_EQ(RoundTo(DType::kF16, 65520), kInf);
  EXPECT_EQ(RoundTo(DType::kF16, std::ldexp(Real(1), -25)), 0);
  EXPECT_EQ(RoundTo(DType::kF16, std::ldexp(Real(3), -26)), std::ldexp(Real(1), -24));
}

}  // namespace
}  // namespace lossd::oracle
