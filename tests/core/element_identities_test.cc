// What losses over elements have to do with each other and with their own slopes, and numbers that
// were once wrong elsewhere: nothing here knows a formula of the core or the oracle.

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// The tensors of some elements; empty: none.
struct Elements {
  std::vector<Real> x;
  std::vector<Real> t = {};
  std::vector<Real> second = {};
};

struct Values {
  std::vector<double> loss;
  std::vector<double> slope;
  std::vector<double> second_slope;
};

std::vector<double> NumbersOf(absl::Span<const std::byte> bytes) {
  std::vector<double> numbers(bytes.size() / sizeof(double));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

Values Compute(const Loss& loss, const Elements& elements, double smoothing = 0) {
  const auto tensor = [](const std::vector<Real>& values) {
    return OwnedTensor::Of(DType::kF64, {1, static_cast<int64_t>(values.size())}, values);
  };
  LossCase c;
  c.spec.loss = loss;
  c.spec.label_smoothing = smoothing;
  c.spec.reduction = Reduction::kNone;
  c.spec.outputs.second_gradient = FactsOf(loss).second_gradient;
  c.predictions = tensor(elements.x);
  c.target_kind = elements.t.empty() ? TargetKind::kNone : TargetKind::kTargetValues;
  if (!elements.t.empty()) c.targets = tensor(elements.t);
  if (!elements.second.empty()) c.second_predictions = tensor(elements.second);
  const CoreAnswer core = RunCore(c);
  EXPECT_TRUE(core.status.ok()) << core.status;
  return {NumbersOf(core.outputs.position_losses.bytes()), NumbersOf(core.outputs.gradient.bytes()),
          NumbersOf(core.outputs.second_gradient.bytes())};
}

// Numbers of both signs and of very different sizes.
std::vector<Real> Numbers(int count, Random& random) {
  std::vector<Real> numbers;
  for (int i = 0; i < count; ++i) {
    numbers.push_back(random.Pick<Real>({1e-3L, 1, 10}) * random.Uniform(-4, 4));
  }
  return numbers;
}

void ExpectEqual(const std::vector<double>& got, const std::vector<double>& want, double factor) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], factor * want[i], 1e-13 * std::fabs(factor * want[i]) + 1e-300) << i;
  }
}

std::vector<Real> Negated(std::vector<Real> values) {
  for (Real& value : values) value = -value;
  return values;
}

TEST(ElementIdentities, BinaryCrossEntropyIsSymmetric) {
  Random random(1);
  const std::vector<Real> x = Numbers(100, random);
  const std::vector<Real> ones(x.size(), 1);
  const std::vector<Real> zeros(x.size(), 0);
  const Values one = Compute(BinaryCrossEntropyLoss(), {x, ones});
  const Values zero = Compute(BinaryCrossEntropyLoss(), {Negated(x), zeros});
  ExpectEqual(one.loss, zero.loss, 1);
  ExpectEqual(one.slope, zero.slope, -1);
}

TEST(ElementIdentities, FocalWithoutModulationIsCrossEntropy) {
  Random random(2);
  const std::vector<Real> x = Numbers(100, random);
  std::vector<Real> t;
  for (size_t i = 0; i < x.size(); ++i) t.push_back(random.Uniform(0, 1));
  SigmoidFocalLoss focal;
  focal.gamma = 0;
  const Values plain = Compute(BinaryCrossEntropyLoss(), {x, t});
  const Values modulated = Compute(focal, {x, t});
  ExpectEqual(modulated.loss, plain.loss, 1);
  ExpectEqual(modulated.slope, plain.slope, 1);
}

TEST(ElementIdentities, RobustLosses) {
  Random random(3);
  const std::vector<Real> x = Numbers(100, random);
  const std::vector<Real> t = Numbers(100, random);
  const Values absolute = Compute(AbsoluteErrorLoss(), {x, t});
  for (const double beta : {0.3, 1.0, 7.0}) {
    const Values smooth = Compute(SmoothL1Loss{beta}, {x, t});
    const Values huber = Compute(HuberLoss{beta}, {x, t});
    ExpectEqual(smooth.loss, huber.loss, 1 / beta);
    ExpectEqual(smooth.slope, huber.slope, 1 / beta);
  }
  ExpectEqual(Compute(SmoothL1Loss{0}, {x, t}).loss, absolute.loss, 1);
  ExpectEqual(Compute(QuantileLoss(), {x, t}).loss, absolute.loss, 0.5);
  ExpectEqual(Compute(QuantileLoss(), {x, t}).slope, absolute.slope, 0.5);
  ExpectEqual(Compute(ValueLoss(), {x, t}).loss, Compute(SquaredErrorLoss(), {x, t}).loss, 0.5);
}

TEST(ElementIdentities, PairsAreDifferences) {
  Random random(4);
  const std::vector<Real> chosen = Numbers(100, random);
  const std::vector<Real> rejected = Numbers(100, random);
  std::vector<Real> difference;
  for (size_t i = 0; i < chosen.size(); ++i) {
    // As the pair's numbers are once they are doubles.
    difference.push_back(static_cast<double>(chosen[i]) - static_cast<double>(rejected[i]));
  }
  const std::vector<Real> ones(chosen.size(), 1);
  const Values pair = Compute(PairwiseLogisticLoss(), {chosen, {}, rejected});
  const Values plain = Compute(BinaryCrossEntropyLoss(), {difference, ones});
  ExpectEqual(pair.loss, plain.loss, 1);
  ExpectEqual(pair.slope, plain.slope, 1);
  ExpectEqual(pair.second_slope, plain.slope, -1);

  PreferenceLoss preference;
  preference.beta = 1;
  ExpectEqual(Compute(preference, {chosen, {}, rejected}).loss, pair.loss, 1);
  preference.variant = PreferenceVariant::kCpo;
  ExpectEqual(Compute(preference, {chosen, {}, rejected}).loss, pair.loss, 1);
  preference.variant = PreferenceVariant::kSimpo;
  preference.gamma = 0;
  ExpectEqual(Compute(preference, {chosen, {}, rejected}).loss, pair.loss, 1);
}

// The slope is that of the value: central differences, away from kinks.
TEST(ElementIdentities, SlopesAreThoseOfTheValues) {
  Random random(5);
  constexpr Real kStep = 1e-5L;
  for (Loss loss : kElementLosses) {
    if (std::holds_alternative<PolicyLoss>(loss) || std::holds_alternative<KtoLoss>(loss)) continue;
    Elements at;
    for (int i = 0; i < 60; ++i) {
      at.x.push_back(FactsOf(loss).predictions == Domain::kLogProbabilities
                         ? random.Uniform(-5, -0.1L)
                         : random.Uniform(-3, 3));
      if (TakesTargets(FactsOf(loss))) {
        at.t.push_back(TargetsOf(loss) == TargetRange::kAny ? random.Uniform(-3, 3) : 1);
      }
      if (FactsOf(loss).second_gradient) {
        at.second.push_back(FactsOf(loss).predictions == Domain::kLogProbabilities
                                ? random.Uniform(-5, -0.1L)
                                : random.Uniform(0.2L, 3));
      }
    }
    const auto moved = [&](std::vector<Real> Elements::*which, Real step) {
      Elements other = at;
      for (Real& value : other.*which) value += step;
      return Compute(loss, other).loss;
    };
    const auto expect = [&](std::vector<Real> Elements::*which, const std::vector<double>& slope) {
      const std::vector<double> high = moved(which, kStep);
      const std::vector<double> low = moved(which, -kStep);
      int kinks = 0;
      for (size_t i = 0; i < slope.size(); ++i) {
        const double difference = (high[i] - low[i]) / static_cast<double>(2 * kStep);
        if (std::fabs(difference - slope[i]) > 1e-6 * (1 + std::fabs(slope[i]))) ++kinks;
      }
      EXPECT_LE(kinks, 1) << NameOf(loss);
    };
    const Values values = Compute(loss, at);
    expect(&Elements::x, values.slope);
    if (!at.second.empty()) expect(&Elements::second, values.second_slope);
  }
}

// ------------------------------------------------------------------- what was wrong elsewhere

TEST(ElementReports, ACertainLogitHasASlope) {  // pytorch 195677: 0
  const Values values = Compute(BinaryCrossEntropyLoss(), {{37.43L}, {1}});
  EXPECT_NEAR(values.slope[0], -5.55e-17, 1e-19);
}

TEST(ElementReports, InfiniteLogits) {  // pytorch 49844, 102894: NaN
  const Values values =
      Compute(BinaryCrossEntropyLoss(), {{kInf, -kInf, kInf, -kInf}, {1, 0, 0, 1}});
  EXPECT_EQ(values.loss, (std::vector<double>{0, 0, kInf, kInf}));
  EXPECT_EQ(values.slope, (std::vector<double>{0, 0, 1, -1}));
}

TEST(ElementReports, FocalOfCertainLogits) {  // fvcore, torchvision: NaN for gamma below 1
  SigmoidFocalLoss focal;
  focal.gamma = 0.5;
  const Values values = Compute(focal, {{17, 40, 800}, {1, 1, 1}});
  for (const double slope : values.slope) EXPECT_LE(slope, 0);
  EXPECT_NEAR(values.slope[0], -1.27e-11, 2e-13);
  EXPECT_EQ(values.slope[2], 0);
}

TEST(ElementReports, SmoothL1WithoutASquare) {  // pytorch 96813: NaN on CUDA
  const Values values = Compute(SmoothL1Loss{0}, {{0, 1, -1}, {0, 0, 0}});
  EXPECT_EQ(values.loss, (std::vector<double>{0, 1, 1}));
  EXPECT_EQ(values.slope, (std::vector<double>{0, 1, -1}));
}

TEST(ElementReports, LogCoshNearAndFar) {  // torchmetrics 3488, keras 8524: overflow, 0
  const Values values = Compute(LogCoshLoss(), {{1e-4L, 100, 1000}, {0, 0, 0}});
  EXPECT_NEAR(values.loss[0], 5e-9, 1e-17);
  EXPECT_NEAR(values.loss[1], 100 - std::log(2.0), 1e-13);
  EXPECT_NEAR(values.loss[2], 1000 - std::log(2.0), 1e-12);
}

TEST(ElementReports, PairsFarApart) {  // DeepSpeedExamples 501: infinite at -90
  const Values values = Compute(PairwiseLogisticLoss(), {{-90}, {}, {0}});
  EXPECT_NEAR(values.loss[0], 90, 1e-12);
}

TEST(ElementReports, OddsOfAlmostCertainSequences) {  // trl 2564, 3237: NaN
  PreferenceLoss orpo;
  orpo.variant = PreferenceVariant::kOrpo;
  orpo.beta = 1;
  const Values values = Compute(orpo, {{-1e-9L, 0, -1}, {}, {-1, -1, 0}});
  EXPECT_NEAR(values.loss[0], 1e-9 * std::exp(-1.0) / -std::expm1(-1.0), 1e-16);
  EXPECT_EQ(values.loss[1], 0);
  EXPECT_TRUE(std::isfinite(values.slope[1]));
  EXPECT_EQ(values.loss[2], kInf);
}

TEST(ElementReports, VarianceHasAFloor) {  // pytorch 190058: "added"
  GaussianNllLoss loss;
  loss.epsilon = 0.25;
  const Values values = Compute(loss, {{1}, {0}, {0}});
  EXPECT_NEAR(values.loss[0], 0.5 * (std::log(0.25) + 4), 1e-15);
}

}  // namespace
}  // namespace lossd::oracle
