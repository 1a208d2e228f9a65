// The overlap of regions: against the definition, in long double, and what it is in corner cases.

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/support/oracle_shape.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

// A place as the definition has it, with its probabilities and their derivatives.
struct Place {
  int64_t group = 0;
  Real q = 1;
  std::vector<int64_t> elements;
  std::vector<Real> x;
  std::vector<Real> t;
};

struct Expected {
  Real loss = 0;
  std::vector<Real> losses;  // [groups][classes]
  std::vector<Real> gradient;
};

std::vector<Real> Activate(Activation activation, const std::vector<Real>& x) {
  std::vector<Real> p;
  Real sum = 0;
  for (const Real value : x) sum += std::exp(value);
  for (const Real value : x) {
    switch (activation) {
      case Activation::kSoftmax:
        p.push_back(std::exp(value) / sum);
        break;
      case Activation::kSigmoid:
        p.push_back(1 / (1 + std::exp(-value)));
        break;
      case Activation::kNone:
        p.push_back(value);
        break;
    }
  }
  return p;
}

// dl/dx_k of dl/dp_j.
std::vector<Real> ChainRule(Activation activation, const std::vector<Real>& p,
                            const std::vector<Real>& g) {
  std::vector<Real> slope(p.size(), 0);
  for (size_t k = 0; k < p.size(); ++k) {
    for (size_t j = 0; j < p.size(); ++j) {
      const Real same = j == k ? 1 : 0;
      switch (activation) {
        case Activation::kSoftmax:
          slope[k] += g[j] * p[j] * (same - p[k]);
          break;
        case Activation::kSigmoid:
          slope[k] += g[j] * same * p[j] * (1 - p[j]);
          break;
        case Activation::kNone:
          slope[k] += g[j] * same;
          break;
      }
    }
  }
  return slope;
}

std::vector<Place> ReadPlaces(const LossCase& c) {
  const Geometry geometry = GeometryOf(c.spec, c.predictions.desc);
  const bool by_sample = std::get<TverskyLoss>(c.spec.loss).group == Grouping::kSample;
  std::vector<Place> places;
  for (const Index& index : geometry.Positions()) {
    Place place;
    const int64_t address = geometry.PositionAddress(index);
    if (by_sample && index.size() > 1) place.group = index[geometry.batch_axis];
    if (c.position_weights) place.q = c.position_weights->at(address);
    Index element = index;
    for (int64_t& k = element[geometry.class_axis]; k < geometry.classes(); ++k) {
      place.elements.push_back(geometry.ElementAddress(element));
      place.x.push_back(c.predictions.at(place.elements.back()));
      const bool hard = c.target_kind == TargetKind::kClassIndices;
      place.t.push_back(hard ? (c.targets.at(address) == k ? 1 : 0)
                             : c.targets.at(place.elements.back()));
    }
    if (c.target_kind == TargetKind::kClassIndices) {
      for (const int64_t ignored : c.spec.ignore_labels) {
        if (c.targets.at(address) == static_cast<Real>(ignored)) place.q = 0;
      }
    }
    places.push_back(std::move(place));
  }
  return places;
}

std::vector<Real> WeightsOf(const LossCase& c, int64_t classes) {
  std::vector<Real> weights(classes, 1);
  if (!c.class_weights) return weights;
  Real sum = 0;
  for (int64_t k = 0; k < classes; ++k) sum += weights[k] = c.class_weights->at(k);
  if (c.spec.weight_normalization == WeightNormalization::kNone) return weights;
  for (Real& weight : weights) weight *= classes / sum;
  return weights;
}

Real DenominatorOf(const LossCase& c, int64_t groups, const std::vector<Real>& weights) {
  Real all = 0;
  for (const Real weight : weights) all += weight * groups;
  switch (c.spec.reduction) {
    case Reduction::kPositions:
    case Reduction::kValid:
      return static_cast<Real>(groups) * weights.size();
    case Reduction::kWeightSum:
      return all;
    case Reduction::kBatch:
      return GeometryOf(c.spec, c.predictions.desc).batch_extent();
    case Reduction::kGiven:
      return *c.spec.denominator;
    case Reduction::kSum:
    case Reduction::kNone:
      break;
  }
  return 1;
}

// The quotient and its derivative as they stand in docs/semantics.md.
Expected Define(const LossCase& c) {
  const auto& loss = std::get<TverskyLoss>(c.spec.loss);
  const std::vector<Place> places = ReadPlaces(c);
  const int64_t classes = GeometryOf(c.spec, c.predictions.desc).classes();
  int64_t groups = 1;
  for (const Place& place : places) groups = std::max(groups, place.group + 1);
  struct Sums {
    Real tp = 0, p = 0, t = 0;
  };
  std::vector<Sums> sums(groups * classes);
  for (const Place& place : places) {
    const std::vector<Real> p = Activate(loss.activation, place.x);
    for (int64_t k = 0; k < classes && place.q != 0; ++k) {
      Sums& of = sums[place.group * classes + k];
      of.tp += place.q * p[k] * place.t[k];
      of.p += place.q * p[k];
      of.t += place.q * place.t[k];
    }
  }
  const std::vector<Real> weights = WeightsOf(c, classes);
  const Real scale = c.spec.loss_weight / DenominatorOf(c, groups, weights);
  Expected expected;
  std::vector<std::pair<Real, Real>> slopes;  // dl/dp = q (first + second t)
  for (int64_t i = 0; i < groups * classes; ++i) {
    const Sums& of = sums[i];
    const Real top = of.tp + loss.smooth_numerator;
    const Real bottom =
        of.tp + loss.alpha * (of.p - of.tp) + loss.beta * (of.t - of.tp) + loss.smooth_denominator;
    const bool skipped = loss.absent_classes == AbsentClasses::kSkip && of.t == 0;
    if (bottom == 0 || skipped) {
      expected.losses.push_back(0);
      slopes.emplace_back(0, 0);
      continue;
    }
    const Real w = weights[i % classes];
    const Real part = 1 - top / bottom;
    expected.losses.push_back(w * std::pow(part, Real(loss.power)));
    expected.loss += scale * expected.losses.back();
    const Real upstream = c.upstream_gradient ? c.upstream_gradient->at(i) : 1;
    const bool kink = part == 0 && loss.power < 1;
    const Real power = kink ? 0 : std::pow(part, Real(loss.power - 1));
    const Real outer =
        -c.spec.gradient_scale * scale * upstream * w * loss.power * power / (bottom * bottom);
    slopes.emplace_back(-outer * top * loss.alpha,
                        outer * (bottom - top * (1 - loss.alpha - loss.beta)));
  }
  expected.gradient.resize(c.predictions.size());
  for (const Place& place : places) {
    const std::vector<Real> p = Activate(loss.activation, place.x);
    std::vector<Real> g;
    for (int64_t k = 0; k < classes; ++k) {
      const auto& [plain, with_target] = slopes[place.group * classes + k];
      g.push_back(place.q == 0 ? 0 : place.q * (plain + with_target * place.t[k]));
    }
    const std::vector<Real> slope = ChainRule(loss.activation, p, g);
    for (int64_t k = 0; k < classes; ++k) expected.gradient[place.elements[k]] = slope[k];
  }
  return expected;
}

LossCase Draw(const Factors& factors, const TverskyLoss& loss, Random& random) {
  LossCase c = MakeCase(factors, random);
  c.spec.loss = loss;
  c.spec.label_smoothing = 0;
  c.spec.outputs = {};
  c.spec.outputs.position_losses = true;
  const int64_t classes = GeometryOf(c.spec, c.predictions.desc).classes();
  if (loss.activation == Activation::kNone) {
    for (int64_t i = 0; i < c.predictions.size(); ++i) {
      c.predictions.set(i, random.Uniform(0.01L, 1));
    }
  }
  c.class_weights.reset();
  c.spec.weight_normalization.reset();
  if (random.OneIn(2)) {
    c.class_weights = OwnedTensor::Make(DType::kF64, {classes}, Layout::kRowMajor,
                                        [&](int64_t) { return random.Uniform(0.1L, 2); });
    if (random.OneIn(2)) c.spec.weight_normalization = WeightNormalization::kNone;
  }
  c.upstream_gradient.reset();
  return c;
}

Real At(GuardedBuffer& buffer, DType dtype, int64_t i) {
  return Widen(dtype, buffer.span().data() + i * SizeOf(dtype));
}

void ExpectDefinition(const LossCase& c, const std::string& context) {
  SCOPED_TRACE(absl::StrCat(context, "\n", Describe(c)));
  const Expected want = Define(c);
  CoreAnswer got = RunCore(c);
  ASSERT_TRUE(got.status.ok()) << got.status;
  const auto near = [](Real value, Real wanted, Real size, const std::string& what) {
    EXPECT_LE(std::fabs(value - wanted), 1e-12L * (std::fabs(wanted) + size))
        << what << ": " << value << "; wanted " << wanted;
  };
  near(got.result.loss, want.loss, 1, "loss");
  for (size_t i = 0; i < want.losses.size(); ++i) {
    near(At(got.outputs.position_losses, DType::kF64, static_cast<int64_t>(i)),
         c.spec.loss_weight * want.losses[i], 1, absl::StrCat("loss of position ", i));
  }
  const DType dtype = c.spec.gradient_dtype.value_or(c.predictions.desc.dtype);
  Real largest = 0;
  for (const Real slope : want.gradient) largest = std::fmax(largest, std::fabs(slope));
  for (int64_t i = 0; i < c.predictions.size(); ++i) {
    const Real value = At(got.outputs.gradient, dtype, i);
    EXPECT_LE(std::fabs(value - want.gradient[i]),
              HalfUlp(dtype, want.gradient[i]) + 1e-12L * (largest + std::fabs(want.gradient[i])))
        << "gradient[" << i << "]: " << value << "; wanted " << want.gradient[i];
  }
}

std::vector<TverskyLoss> Variants() {
  std::vector<TverskyLoss> variants;
  const auto add = [&](double alpha, double beta, double above, double below, double power) {
    TverskyLoss loss;
    loss.alpha = alpha;
    loss.beta = beta;
    loss.smooth_numerator = above;
    loss.smooth_denominator = below;
    loss.power = power;
    variants.push_back(loss);
  };
  add(0.5, 0.5, 0, 0, 1);
  add(1, 1, 1e-5, 1e-5, 1);
  add(0.3, 0.7, 0, 1, 2);
  add(0.3, 0.7, 1, 1, 0.75);
  return variants;
}

TEST(Tversky, AgreesWithTheDefinition) {
  constexpr uint64_t kSeed = 61;
  Random random(kSeed);
  int cases = 0;
  for (TverskyLoss loss : Variants()) {
    for (const auto activation : {Activation::kSoftmax, Activation::kSigmoid, Activation::kNone}) {
      for (const auto group : {Grouping::kBatch, Grouping::kSample}) {
        for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
          for (const auto& [rank, axis] :
               std::vector<std::pair<int, int>>{{1, 0}, {2, 0}, {2, 1}, {3, 1}, {4, 1}, {3, 2}}) {
            for (const auto kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
              loss.activation = activation;
              loss.group = group;
              if (random.OneIn(3)) loss.absent_classes = AbsentClasses::kSkip;
              Factors factors = {.loss = SoftmaxLoss(), .dtype = kFloatDTypes[cases % 4]};
              factors.layout = layout;
              factors.rank = rank;
              factors.axis = axis;
              factors.target_kind = kind;
              factors.reduction = static_cast<Reduction>(1 + cases % 7);
              if (!factors.valid()) continue;
              const bool batch = rank > 1 && axis == factors.batch_axis();
              if (batch && group == Grouping::kSample) continue;
              const LossCase c = Draw(factors, loss, random);
              ExpectDefinition(c, absl::StrCat("seed ", kSeed, ", case ", cases));
              if (testing::Test::HasFailure()) return;
              ++cases;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 400);
}

// Two classes in three places, of which the second says nothing.
LossCase Small(const TverskyLoss& loss) {
  LossCase c;
  c.spec.loss = loss;
  c.predictions = OwnedTensor::Of(DType::kF64, {1, 3, 3}, {2, 0, -1, 0, 1, 0.5, -3, -3, -3});
  c.targets = OwnedTensor::Of(DType::kI32, {1, 3}, {0, 1, 1});
  c.spec.outputs.position_losses = true;
  return c;
}

TEST(Tversky, UpstreamMultipliesClasses) {
  LossCase c = Small({});
  c.upstream_gradient = OwnedTensor::Of(DType::kF64, {3}, {2, 0, -1});
  ExpectDefinition(c, "upstream");
}

TEST(Tversky, ClassesWithoutTargets) {
  TverskyLoss loss;
  LossCase c = Small(loss);
  CoreAnswer counted = RunCore(c);
  EXPECT_EQ(At(counted.outputs.position_losses, DType::kF64, 2), 1);
  loss.absent_classes = AbsentClasses::kSkip;
  c.spec.loss = loss;
  CoreAnswer skipped = RunCore(c);
  EXPECT_EQ(At(skipped.outputs.position_losses, DType::kF64, 2), 0);
  EXPECT_EQ(skipped.result.position_count, 3);
  EXPECT_EQ(skipped.result.denominator, 3);
}

TEST(Tversky, NothingCountsIsNoLoss) {
  LossCase c = Small({});
  c.spec.ignore_labels = {0, 1};
  CoreAnswer answer = RunCore(c);
  ASSERT_TRUE(answer.status.ok()) << answer.status;
  EXPECT_EQ(answer.result.loss, 0);
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(At(answer.outputs.gradient, DType::kF64, i), 0);
}

// Of logistic probabilities one class is NaN alone; what weighs nothing is not looked at.
TEST(Tversky, NotANumber) {
  TverskyLoss loss;
  loss.activation = Activation::kSigmoid;
  LossCase c = Small(loss);
  c.predictions.set(1, kNan);
  CoreAnswer answer = RunCore(c);
  EXPECT_TRUE(std::isnan(answer.result.loss));
  EXPECT_EQ(answer.result.nonfinite_count, 1);
  EXPECT_TRUE(std::isnan(At(answer.outputs.position_losses, DType::kF64, 0)));
  EXPECT_TRUE(std::isfinite(At(answer.outputs.position_losses, DType::kF64, 1)));
  c.position_weights = OwnedTensor::Of(DType::kF64, {1, 3}, {1, 0, 1});
  answer = RunCore(c);
  EXPECT_TRUE(std::isfinite(answer.result.loss));
  EXPECT_EQ(answer.result.nonfinite_count, 0);
  EXPECT_EQ(At(answer.outputs.gradient, DType::kF64, 1), 0);
}

// A probability close to 1 misses the target by what is left, not by a rounded difference.
TEST(Tversky, CertainPlacesKeepTheirDigits) {
  LossCase c = Small({});
  c.predictions = OwnedTensor::Of(DType::kF64, {1, 2, 1}, {40, 0});
  c.targets = OwnedTensor::Of(DType::kI32, {1, 1}, {0});
  CoreAnswer answer = RunCore(c);
  const Real rest = std::exp(Real(-40));
  const Real half = rest / (1 + rest) / 2;  // alpha FP + beta FN
  const Real want = half / (1 / (1 + rest) + half);
  const Real got = At(answer.outputs.position_losses, DType::kF64, 0);
  EXPECT_LE(std::fabs(got - want), 1e-14L * want) << got << "; wanted " << want;
}

TEST(Tversky, ManyPlacesOnAnyThreads) {
  Random random(62);
  for (const auto& shape : std::vector<std::vector<int64_t>>{{3, 5, 171, 63}, {9000, 7}}) {
    TverskyLoss loss;
    loss.group = Grouping::kSample;
    if (shape.size() == 2) loss.group = Grouping::kBatch;
    LossCase c;
    c.spec.loss = loss;
    c.spec.outputs.position_losses = true;
    c.predictions = OwnedTensor::Make(DType::kF32, shape, Layout::kRowMajor,
                                      [&](int64_t) { return random.Uniform(-4, 4); });
    c.targets = OwnedTensor::Make(DType::kI32, LabelShape(shape, 1, true), Layout::kRowMajor,
                                  [&](int64_t) { return Real(random.Below(shape[1])); });
    Executor one(1);
    Executor three(3);
    const CoreAnswer a = RunCore(c, one);
    const CoreAnswer b = RunCore(c, three);
    ASSERT_TRUE(a.status.ok()) << a.status;
    EXPECT_EQ(BitDifference(a, b), "");
    ExpectDefinition(c, "many places");
  }
}

std::string Refusal(const LossCase& c) { return std::string(RunCore(c).status.message()); }

TEST(Tversky, Refusals) {
  TverskyLoss loss;
  LossCase c = Small(loss);
  c.class_weights = OwnedTensor::Of(DType::kF64, {1, 3, 3}, {1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(Refusal(c), "class_weights.shape is [1,3,3]; wanted [3] with the loss tversky");
  c = Small(loss);
  c.upstream_gradient = OwnedTensor::Of(DType::kF64, {1, 3}, {1, 1, 1});
  EXPECT_EQ(Refusal(c),
            "upstream_gradient.shape is [1,3]; wanted [3], one for each class of a group");
  c = Small(loss);
  c.spec.label_smoothing = 0.1;
  EXPECT_EQ(Refusal(c), "label_smoothing is 0.1; wanted 0 with tversky");
  c = Small(loss);
  c.predictions = OwnedTensor::Of(DType::kF64, {0, 3, 3}, {});
  c.targets = OwnedTensor::Of(DType::kI32, {0, 3}, {});
  EXPECT_EQ(Refusal(c),
            "predictions.shape is [0,3,3]; wanted at least one place with the loss tversky");
  loss.group = Grouping::kSample;
  c = Small(loss);
  c.spec.class_axis = 0;
  c.targets = OwnedTensor::Of(DType::kI32, {3, 3}, std::vector<Real>(9, 0));
  EXPECT_EQ(Refusal(c),
            "tversky.group is SAMPLE; wanted BATCH: the class axis 0 is the batch dimension");
  loss.alpha = -1;
  c = Small(loss);
  EXPECT_EQ(Refusal(c), "tversky.alpha is -1; wanted a finite number >= 0");
}

}  // namespace
}  // namespace lossd::oracle
