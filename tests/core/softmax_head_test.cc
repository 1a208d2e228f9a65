// Heads of softmax losses whose slopes follow from the reduced row (kernels::SoftmaxHead), through
// the runners of rows and of tiles, in one pass and in phases. The heads are of this test alone.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/exec/box_run.h"
#include "gtest/gtest.h"
#include "tests/core/core_run.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

constexpr double kQuietNaN = std::numeric_limits<double>::quiet_NaN();

// A position, and what a head makes of it.
template <class T>
struct Seen {
  T minus_log_p, log_sum_exp, probability, others, weight;
};
template <class T>
struct Made {
  T loss, label_slope, sum_slope;
};

struct CrossEntropy {
  template <class T>
  Made<T> operator()(const Seen<T>& p) const {
    return {p.weight * p.minus_log_p, -p.weight, 0};
  }
};
// Cross entropy and zeta lse^2.
struct ZLoss {
  template <class T>
  Made<T> operator()(const Seen<T>& p) const {
    const T zeta = T(0.05);
    return {p.weight * p.minus_log_p + zeta * p.log_sum_exp * p.log_sum_exp, -p.weight,
            2 * zeta * p.log_sum_exp};
  }
};
// w (1 - s)^2 (-log s).
struct Focal {
  template <class T>
  Made<T> operator()(const Seen<T>& p) const {
    const T square = p.others * p.others;
    return {p.weight * square * p.minus_log_p,
            -p.weight * (square + 2 * p.probability * p.others * p.minus_log_p), 0};
  }
};
// -A s / s_old with A < 0: a policy loss that pushes the label down.
struct Policy {
  template <class T>
  Made<T> operator()(const Seen<T>& p) const {
    const T gain = T(3) * p.probability;
    return {gain, gain, 0};
  }
};
// Slopes that are no numbers where the label is likely.
struct Broken {
  template <class T>
  Made<T> operator()(const Seen<T>& p) const {
    const T slope = p.probability > T(0.125) ? std::numeric_limits<T>::quiet_NaN() : T(-1);
    return {p.minus_log_p, slope, 0};
  }
};

template <class Head>
void Body(const kernels::SoftmaxHead& head, const kernels::HeadInput& in,
          const kernels::HeadOutput& out) {
  for (int64_t i = 0; i < in.count; ++i) {
    const Made<double> made =
        Head()(Seen<double>{in.minus_log_p[i], in.log_sum_exp[i], in.probability[i], in.others[i],
                            head.weight[in.first + i]});
    out.loss[i] = made.loss;
    out.label_slope[i] = made.label_slope;
    out.sum_slope[i] = made.sum_slope;
  }
}

struct HeadCase {
  DType dtype;
  std::vector<int64_t> shape;  // [outer, classes, inner]
  bool in_phases;              // other outputs are wanted, and a gradient in f64
  bool weights;

  int64_t positions() const { return shape[0] * shape[2]; }
};

std::string Describe(const HeadCase& c) {
  return absl::StrCat(std::string(Name(c.dtype)), " [", c.shape[0], ",", c.shape[1], ",",
                      c.shape[2], "]", c.in_phases ? " in phases" : "",
                      c.weights ? " weighted" : "", " LOSSD_TEST_SEED=", TestSeed());
}

std::vector<HeadCase> HeadCases() {
  std::vector<HeadCase> cases;
  const std::vector<std::vector<int64_t>> shapes = {
      {19, 7, 1}, {40, 16, 1}, {6, 37, 1}, {3, 4100, 1}, {2, 21, 70}, {1, 5, 200}, {3, 40, 3}};
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kF16, DType::kBF16}) {
    for (const std::vector<int64_t>& shape : shapes) {
      for (const bool in_phases : {false, true}) {
        for (const bool weights : {false, true}) {
          cases.push_back({dtype, shape, in_phases, weights});
        }
      }
    }
  }
  return cases;
}

// The tensors of a case and what the core answers.
class HeadRun {
 public:
  explicit HeadRun(const HeadCase& c) : case_(c) {
    Random random(c.shape[1] * 100 + c.shape[2]);
    predictions_ = OwnedTensor::Make(c.dtype, c.shape, Layout::kRowMajor,
                                     [&](int64_t) { return random.Uniform(-4, 4); });
    labels_ = OwnedTensor::Make(
        DType::kI32, {c.shape[0], c.shape[2]}, Layout::kRowMajor,
        [&](int64_t p) { return p % 7 == 5 ? Real(-100) : random.Below(c.shape[1]); });
    upstream_ =
        OwnedTensor::Make(DType::kF64, {c.shape[0], c.shape[2]}, Layout::kRowMajor,
                          [&](int64_t p) { return p % 11 == 9 ? Real(0) : random.Uniform(-2, 2); });
    if (c.weights) {
      weights_ = OwnedTensor::Make(DType::kF32, {c.shape[1]}, Layout::kRowMajor,
                                   [&](int64_t) { return random.Uniform(0.5L, 2); });
    }
    predictions_.set(Element(1, c.shape[1] - 1), kQuietNaN);
    predictions_.set(Element(2, (Label(2) + 1) % c.shape[1]), -INFINITY);
  }

  int64_t Element(int64_t p, int64_t k) const {
    const int64_t inner = case_.shape[2];
    return (p / inner * case_.shape[1] + k) * inner + p % inner;
  }
  int64_t Label(int64_t p) const { return static_cast<int64_t>(labels_.at(p)); }
  Real Upstream(int64_t p) const { return upstream_.at(p); }
  Real Weight(int64_t p) const {
    return case_.weights && Label(p) >= 0 ? weights_.at(Label(p)) : 1;
  }
  Real Prediction(int64_t p, int64_t k) const { return predictions_.at(Element(p, k)); }
  Real Gradient(int64_t p, int64_t k) const {
    return Widen(gradient_dtype(), gradient.data() + Element(p, k) * SizeOf(gradient_dtype()));
  }
  DType gradient_dtype() const { return case_.in_phases ? DType::kF64 : case_.dtype; }

  // `body` null: without a head.
  void Compute(decltype(kernels::SoftmaxHead::body) body) {
    LossSpec spec;
    spec.class_axis = 1;
    spec.ignore_labels = {-100};
    spec.reduction = Reduction::kSum;
    spec.gradient_dtype = gradient_dtype();
    spec.outputs.position_losses = true;
    spec.outputs.probabilities = spec.outputs.log_sum_exp = case_.in_phases;
    if (case_.weights) spec.weight_normalization = WeightNormalization::kNone;
    LossTensorDescs descs;
    descs.predictions = predictions_.desc;
    descs.targets = labels_.desc;
    descs.upstream_gradient = upstream_.desc;
    if (case_.weights) descs.class_weights = weights_.desc;
    absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, descs);
    ASSERT_TRUE(plan.ok()) << plan.status();
    RunState state{.plan = *std::move(plan), .side = {}, .labels = {}, .class_weights = {}};
    state.side.upstream_gradient = upstream_.bytes;
    state.labels = Labels(DType::kI32, labels_.bytes, case_.shape[1], {-100});
    auto weights = ClassWeights::Make(state.plan, weights_.bytes, TestExecutor(), {});
    ASSERT_TRUE(weights.ok()) << weights.status();
    state.class_weights = *std::move(weights);
    state.denominator = 1;
    state.softmax_head = body;

    const LossPlan::BoxBytes sizes = state.plan.BytesOf(state.plan.whole());
    gradient.assign(sizes.gradient, std::byte{0x55});
    losses.assign(case_.positions(), 0);
    std::vector<std::byte> probabilities(sizes.probabilities);
    std::vector<std::byte> log_sum_exp(sizes.log_sum_exp);
    const LossOutputs out{
        .gradient = absl::MakeSpan(gradient),
        .position_losses = {reinterpret_cast<std::byte*>(losses.data()), losses.size() * 8},
        .log_sum_exp = absl::MakeSpan(log_sum_exp),
        .probabilities = absl::MakeSpan(probabilities)};
    const BoxInputs in{.predictions = ScatteredBytes(ByteSpan(predictions_.bytes)),
                       .class_probabilities = {}};
    auto answer = RunBox(state, state.plan.whole(), in, out, TestExecutor(), {});
    ASSERT_TRUE(answer.ok()) << answer.status();
    sums = *std::move(answer);
  }

  std::vector<std::byte> gradient;
  std::vector<double> losses;
  PartialSums sums;

 private:
  const HeadCase case_;
  OwnedTensor predictions_;
  OwnedTensor labels_;
  OwnedTensor upstream_;
  OwnedTensor weights_;
};

// One position in long double.
class Position {
 public:
  Position(const HeadRun& run, int64_t p, int64_t classes) : label_(run.Label(p)) {
    Real peak = -INFINITY;
    for (int64_t k = 0; k < classes; ++k) {
      x_.push_back(run.Prediction(p, k));
      if (std::isnan(x_.back())) is_nan = true;
      peak = std::fmax(peak, x_.back());
    }
    Real sum = 0;
    for (const Real x : x_) sum += std::exp(x - peak);
    seen.log_sum_exp = peak + std::log(sum);
    seen.minus_log_p = seen.log_sum_exp - x_[label_];
    seen.probability = Softmax(label_);
    seen.weight = run.Weight(p);
    seen.others = 0;
    for (int64_t k = 0; k < classes; ++k) {
      if (k != label_) seen.others += Softmax(k);
    }
  }

  Real Softmax(int64_t k) const { return std::exp(x_[k] - seen.log_sum_exp); }

  bool is_nan = false;
  Seen<Real> seen{};

 private:
  int64_t label_;
  std::vector<Real> x_;
};

template <class Head>
void ExpectPosition(const HeadCase& c, const HeadRun& run, int64_t p) {
  const int64_t y = run.Label(p);
  const Real a = run.Upstream(p);
  if (y < 0) {
    for (int64_t k = 0; k < c.shape[1]; ++k) EXPECT_EQ(run.Gradient(p, k), 0) << p << " " << k;
    EXPECT_EQ(run.losses[p], 0) << p;
    return;
  }
  const Position position(run, p, c.shape[1]);
  const Made<Real> made = Head()(position.seen);
  const bool is_nan = position.is_nan || std::isnan(made.label_slope);
  EXPECT_EQ(std::isnan(run.losses[p]), position.is_nan) << p;
  const Real unit = UnitRoundoff(c.dtype == DType::kF64 ? DType::kF64 : DType::kF32);
  const Real bound = 128 * unit * std::fabs(a) *
                     (std::fabs(made.sum_slope) + std::fabs(made.label_slope) +
                      position.seen.weight * position.seen.others);
  for (int64_t k = 0; k < c.shape[1]; ++k) {
    const Real got = run.Gradient(p, k);
    if (a == 0) {
      EXPECT_EQ(got, 0) << p << " " << k;
    } else if (is_nan) {
      EXPECT_TRUE(std::isnan(got)) << p << " " << k;
    } else {
      const Real s = position.Softmax(k);
      const Real want = a * (k == y ? made.label_slope * position.seen.others + made.sum_slope * s
                                    : (made.sum_slope - made.label_slope) * s);
      const Real share = k == y ? position.seen.others + s : s;
      EXPECT_LE(std::fabs(got - want), bound * share + HalfUlp(run.gradient_dtype(), want))
          << p << " " << k << ": " << static_cast<double>(got) << ", wanted "
          << static_cast<double>(want);
    }
  }
  const Real loss_bound =
      128 * unit * (std::fabs(made.loss) + std::fabs(made.label_slope) + std::fabs(made.sum_slope));
  if (!is_nan) {
    EXPECT_NEAR(run.losses[p], made.loss, loss_bound) << p;
  }
}

template <class Head>
void ExpectHead() {
  for (const HeadCase& c : HeadCases()) {
    SCOPED_TRACE(Describe(c));
    HeadRun run(c);
    run.Compute(Body<Head>);
    double sum = 0;
    for (int64_t p = 0; p < c.positions(); ++p) {
      ExpectPosition<Head>(c, run, p);
      if (!std::isnan(run.losses[p])) sum += run.losses[p];
    }
    EXPECT_EQ(run.sums.nonfinite_count, 1);
    EXPECT_EQ(run.sums.ignored_count, (c.positions() + 1) / 7);
    EXPECT_TRUE(std::isnan(run.sums.loss_sum.Round()));
    EXPECT_NE(sum, 0);
  }
}

TEST(SoftmaxHead, ZLoss) { ExpectHead<ZLoss>(); }
TEST(SoftmaxHead, Focal) { ExpectHead<Focal>(); }
TEST(SoftmaxHead, ThatPushesTheLabelDown) { ExpectHead<Policy>(); }
TEST(SoftmaxHead, WithoutSlopesMakesItsRowsNaN) { ExpectHead<Broken>(); }

// Cross entropy as a head has the bits of cross entropy without one.
TEST(SoftmaxHead, OfConstantSlopeChangesNothing) {
  for (const HeadCase& c : HeadCases()) {
    if (c.weights) continue;  // a w (1 - s_y) is multiplied in another order
    SCOPED_TRACE(Describe(c));
    HeadRun with(c);
    HeadRun without(c);
    with.Compute(Body<CrossEntropy>);
    without.Compute(nullptr);
    EXPECT_EQ(with.gradient, without.gradient);
    EXPECT_EQ(std::memcmp(with.losses.data(), without.losses.data(), with.losses.size() * 8), 0);
    EXPECT_TRUE(with.sums == without.sums);
  }
}

// The oracle's slopes are the derivatives of its losses.
template <class Head>
void ExpectSlopes() {
  Random random(3);
  const Real step = 1e-6L;
  for (int i = 0; i < 50; ++i) {
    const auto at = [&](Real log_p, Real log_sum_exp) {
      return Head()(
          Seen<Real>{-log_p, log_sum_exp, std::exp(log_p), -std::expm1(log_p), Real(1.25)});
    };
    const Real log_p = random.Uniform(-5, -0.01L);
    const Real lse = random.Uniform(-5, 5);
    const Made<Real> made = at(log_p, lse);
    const Real by_label = (at(log_p + step, lse).loss - at(log_p - step, lse).loss) / (2 * step);
    const Real by_sum = (at(log_p, lse + step).loss - at(log_p, lse - step).loss) / (2 * step);
    EXPECT_NEAR(made.label_slope, by_label, 1e-9);
    EXPECT_NEAR(made.sum_slope, by_sum, 1e-9);
  }
}
TEST(SoftmaxHead, OracleSlopes) {
  ExpectSlopes<CrossEntropy>();
  ExpectSlopes<ZLoss>();
  ExpectSlopes<Focal>();
  ExpectSlopes<Policy>();
}

}  // namespace
}  // namespace lossd::oracle
