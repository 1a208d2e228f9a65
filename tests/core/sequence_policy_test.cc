// Policy losses of which a sequence has one ratio, and what policy and preference losses say beside
// the loss: against the formulas in long double, element by element.

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

struct Tokens {
  LossCase c;
  std::vector<int64_t> ends;

  int64_t count() const { return c.predictions.size(); }
  Real q(int64_t i) const { return c.position_weights ? c.position_weights->at(i) : 1; }
  Real lp(int64_t i) const { return c.predictions.at(i); }
  Real old(int64_t i) const {
    return c.old_log_probabilities ? c.old_log_probabilities->at(i) : lp(i);
  }
  const PolicyLoss& loss() const { return std::get<PolicyLoss>(c.spec.loss); }
};

Tokens MakeTokens(DType dtype, bool with_lengths, Random& random) {
  Tokens made;
  LossCase& c = made.c;
  PolicyLoss loss;
  loss.input = PolicyInput::kLogProbabilities;
  loss.ratio_level = RatioLevel::kSequence;
  if (random.OneIn(2)) {
    loss.objective = ImportanceSampling{};
  } else {
    loss.objective = PpoObjective{0.9, 1.1, random.OneIn(2) ? std::optional(1.2) : std::nullopt};
  }
  if (random.OneIn(2)) {
    loss.kl_coefficient = 0.3;
    loss.kl_estimator = static_cast<KlEstimator>(1 + random.Below(5));
  }
  c.spec.loss = loss;
  c.spec.reduction = Reduction::kSum;
  c.spec.outputs.position_losses = true;
  const int64_t rows = 1 + random.Below(4);
  const int64_t width = 1 + random.Below(9);
  const std::vector<int64_t> shape = {rows, width};
  const auto numbers = [&](DType of, Real low, Real high) {
    return OwnedTensor::Make(of, shape, Layout::kRowMajor,
                             [&](int64_t) { return random.Uniform(low, high); });
  };
  c.predictions = numbers(dtype, -3, 0);
  c.target_kind = TargetKind::kNone;
  c.advantages = numbers(DType::kF64, -2, 2);
  if (!random.OneIn(3)) c.old_log_probabilities = numbers(DType::kF32, -3, 0);
  if (loss.kl_coefficient != 0) c.reference_log_probabilities = numbers(DType::kF64, -3, 0);
  if (random.OneIn(2)) {
    c.position_weights = OwnedTensor::Make(DType::kF64, shape, Layout::kRowMajor, [&](int64_t) {
      return random.OneIn(3) ? 0 : random.Uniform(0, 2);
    });
  }
  if (random.OneIn(2)) c.upstream_gradient = numbers(DType::kF64, -1, 1);
  const int64_t tokens = rows * width;
  if (!with_lengths) {
    for (int64_t r = 1; r <= rows; ++r) made.ends.push_back(r * width);
    return made;
  }
  std::vector<int64_t> lengths;
  for (int64_t left = tokens; left > 0; left -= lengths.back()) {
    lengths.push_back(std::min<int64_t>(left, random.Below(6)));
    made.ends.push_back(tokens - left + lengths.back());
  }
  c.sequence_lengths =
      OwnedTensor::Make(DType::kI32, {static_cast<int64_t>(lengths.size())}, Layout::kRowMajor,
                        [&](int64_t i) { return Real(lengths[i]); });
  return made;
}

// l and dl/dlog r of a token whose sequence has ratio r.
struct Value {
  Real loss;
  Real slope;
};

Value OfRatio(const PolicyLoss& loss, Real r, Real a) {
  const auto* const ppo = std::get_if<PpoObjective>(&loss.objective);
  if (ppo == nullptr) return {-r * a, -r * a};
  const Real cap = ppo->ratio_cap.value_or(std::numeric_limits<double>::infinity());
  if (a > 0) return {-std::min<Real>(r, ppo->ratio_high) * a, r > ppo->ratio_high ? 0 : -r * a};
  const Real bounded = std::min<Real>(std::max<Real>(r, ppo->ratio_low), cap);
  return {-bounded * a, r < ppo->ratio_low || r > cap ? 0 : -r * a};
}

Value OfDivergence(KlEstimator estimator, Real d, Real r) {
  const Real kappa = std::expm1(-d) + d;
  switch (estimator) {
    case KlEstimator::kK1:
      return {d, 1};
    case KlEstimator::kK2:
      return {d * d / 2, d};
    case KlEstimator::kK3:
      return {kappa, -std::expm1(-d)};
    case KlEstimator::kK3Corrected:
      return {r * kappa, r * d};
    case KlEstimator::kK3ValueK2Gradient:
      return {kappa, d};
  }
  return {};
}

void ExpectNear(Real got, Real want, Real relative, const std::string& what) {
  EXPECT_LE(std::fabs(got - want), relative * (1 + std::fabs(want)))
      << what << ": " << got << "; wanted " << want;
}

Real At(GuardedBuffer& buffer, DType dtype, int64_t i) {
  return Widen(dtype, buffer.span().data() + i * SizeOf(dtype));
}

// What the tokens of a sequence should be, and its share of the sums.
struct Wanted {
  std::vector<Real> losses;
  std::vector<Real> gradient;
  PolicySumsOf<double> sums = {};
};

void AddSequence(const Tokens& t, int64_t begin, int64_t end, Wanted& want) {
  const PolicyLoss& loss = t.loss();
  Real moved = 0;
  int64_t active = 0;
  for (int64_t i = begin; i < end; ++i) {
    if (t.q(i) == 0) continue;
    ++active;
    moved += t.lp(i) - t.old(i);
  }
  const Real r = active == 0 ? 1 : std::exp(moved / active);
  Real of_all = 0;
  const auto a = [&](int64_t i) {
    return t.q(i) * (t.c.upstream_gradient ? t.c.upstream_gradient->at(i) : 1);
  };
  for (int64_t i = begin; i < end; ++i) {
    of_all += a(i) * OfRatio(loss, r, t.c.advantages->at(i)).slope;
  }
  for (int64_t i = begin; i < end; ++i) {
    const Real advantage = t.c.advantages->at(i);
    Value divergence = {0, 0};
    if (t.c.reference_log_probabilities) {
      divergence = OfDivergence(loss.kl_estimator, t.lp(i) - t.c.reference_log_probabilities->at(i),
                                std::exp(t.lp(i) - t.old(i)));
    }
    const Value value = OfRatio(loss, r, advantage);
    want.losses.push_back(t.q(i) * (value.loss + loss.kl_coefficient * divergence.loss));
    want.gradient.push_back(
        t.q(i) == 0 ? 0 : of_all / active + a(i) * loss.kl_coefficient * divergence.slope);
    if (t.q(i) == 0) continue;
    PolicySumsOf<double>& sums = want.sums;
    ++sums.active_count;
    sums.ratio_sum += static_cast<double>(r);
    sums.ratio_max = std::max<double>(sums.ratio_max, static_cast<double>(r));
    sums.ratio_min = std::min<double>(sums.ratio_min, static_cast<double>(r));
    sums.kl_old_sum += static_cast<double>(t.old(i) - t.lp(i));
    sums.kl_reference_sum += static_cast<double>(divergence.loss);
    const auto* const ppo = std::get_if<PpoObjective>(&loss.objective);
    if (ppo == nullptr) continue;
    sums.clipped_low_count += advantage < 0 && r < ppo->ratio_low ? 1 : 0;
    sums.clipped_high_count += advantage > 0 && r > ppo->ratio_high ? 1 : 0;
    sums.capped_count += advantage < 0 && ppo->ratio_cap && r > *ppo->ratio_cap ? 1 : 0;
  }
}

void ExpectMetrics(const PolicyMetrics& got, const PolicyMetrics& want) {
  using Rows = SumsRows<PolicyMetrics>;
  for (const auto& row : Rows::kSums) {
    ExpectNear(got.*row.member, want.*row.member, 1e-12L, std::string(row.name));
  }
  for (const auto& row : Rows::kCounts) EXPECT_EQ(got.*row.member, want.*row.member) << row.name;
  for (const auto& row : Rows::kExtremes) {
    const bool none = std::isinf(want.*row.member);
    if (none) {
      EXPECT_EQ(got.*row.member, want.*row.member);
    } else {
      ExpectNear(got.*row.member, want.*row.member, 1e-13L, std::string(row.name));
    }
  }
}

TEST(SequencePolicy, AgreesWithTheFormulas) {
  constexpr uint64_t kSeed = 61;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  Random random(kSeed);
  for (int round = 0; round < 400; ++round) {
    const DType dtype = kFloatDTypes[round % 4];
    const Tokens t = MakeTokens(dtype, round % 3 == 0, random);
    CoreAnswer answer = RunCore(t.c);
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    Wanted want;
    int64_t begin = 0;
    for (const int64_t end : t.ends) {
      AddSequence(t, begin, end, want);
      begin = end;
    }
    Real sum = 0;
    for (int64_t i = 0; i < t.count(); ++i) {
      sum += want.losses[i];
      ExpectNear(At(answer.outputs.position_losses, DType::kF64, i), want.losses[i], 1e-13L,
                 absl::StrCat("loss ", i));
      ExpectNear(At(answer.outputs.gradient, dtype, i), want.gradient[i],
                 std::fmax(2 * UnitRoundoff(dtype), 1e-14L), absl::StrCat("gradient ", i));
    }
    ExpectNear(answer.result.loss, sum, 1e-13L, "loss");
    ASSERT_TRUE(answer.result.policy.has_value());
    ExpectMetrics(*answer.result.policy, want.sums);
    if (HasFailure()) return;
  }
}

// With sequences of one token the ratio is the token's.
TEST(SequencePolicy, OfOneTokenEachIsTheTokensOwn) {
  Random random(62);
  for (int round = 0; round < 20; ++round) {
    Tokens t = MakeTokens(DType::kF64, false, random);
    t.c.sequence_lengths = OwnedTensor::Make(DType::kI64, {t.count()}, Layout::kRowMajor,
                                             [](int64_t) { return Real(1); });
    LossCase by_token = t.c;
    std::get<PolicyLoss>(by_token.spec.loss).ratio_level = RatioLevel::kToken;
    by_token.sequence_lengths.reset();
    CoreAnswer a = RunCore(t.c);
    CoreAnswer b = RunCore(by_token);
    ASSERT_TRUE(a.status.ok() && b.status.ok()) << a.status << b.status;
    ExpectNear(a.result.loss, b.result.loss, 1e-14L, "loss");
    ExpectMetrics(*a.result.policy, *b.result.policy);
    for (int64_t i = 0; i < t.count(); ++i) {
      ExpectNear(At(a.outputs.gradient, DType::kF64, i), At(b.outputs.gradient, DType::kF64, i),
                 1e-14L, absl::StrCat("gradient ", i));
    }
  }
}

TEST(SequencePolicy, AnyThreadsGiveTheSameBits) {
  Random random(63);
  Tokens t = MakeTokens(DType::kF32, false, random);
  const auto large = [&](Real low, Real high) {
    return OwnedTensor::Make(DType::kF32, {600, 1000}, Layout::kRowMajor,
                             [&](int64_t) { return random.Uniform(low, high); });
  };
  t.c.predictions = large(-2, 0);
  t.c.advantages = large(-1, 1);
  t.c.old_log_probabilities = large(-2, 0);
  t.c.reference_log_probabilities.reset();
  t.c.position_weights.reset();
  t.c.upstream_gradient.reset();
  std::get<PolicyLoss>(t.c.spec.loss).kl_coefficient = 0;
  Executor one(1);
  Executor three(3);
  const CoreAnswer a = RunCore(t.c, one);
  ASSERT_TRUE(a.status.ok()) << a.status;
  EXPECT_EQ(BitDifference(a, RunCore(t.c, three)), "");
}

TEST(SequencePolicy, WrongLengthsAreNamed) {
  Random random(64);
  Tokens t = MakeTokens(DType::kF64, false, random);
  const auto with = [&](std::vector<Real> lengths) {
    const auto count = static_cast<int64_t>(lengths.size());
    t.c.sequence_lengths = OwnedTensor::Of(DType::kI64, {count}, lengths);
    return std::string(RunCore(t.c).status.message());
  };
  const int64_t n = t.count();
  EXPECT_EQ(with({Real(n + 1)}), absl::StrCat("sequence_lengths[0] is ", n + 1, "; wanted 0..", n));
  EXPECT_EQ(with({Real(n), -1}), "sequence_lengths[1] is -1; wanted 0..0");
  EXPECT_EQ(with({0}), absl::StrCat("sequence_lengths sum to 0; wanted the number of tokens, ", n));
}

// Sums of parts merge into those of the whole, whatever the order.
TEST(PolicySums, Merge) {
  Random random(65);
  std::vector<PartialSums> parts;
  for (int i = 0; i < 4; ++i) {
    Tokens part = MakeTokens(DType::kF64, false, random);
    PolicyLoss loss;
    loss.input = PolicyInput::kLogProbabilities;
    loss.objective = CispoObjective{0.9, 1.1};
    part.c.spec.loss = loss;
    part.c.reference_log_probabilities.reset();
    const CoreAnswer answer = RunCore(part.c);
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    parts.push_back(answer.result.exact);
  }
  PartialSums forward;
  PartialSums backward;
  for (int i = 0; i < 4; ++i) {
    forward.Merge(parts[i]);
    backward.Merge(parts[3 - i]);
  }
  EXPECT_EQ(forward, backward);
  EXPECT_GT(forward.policy->active_count, 0);
}

TEST(PreferenceSums, CountWhatIsPreferred) {
  LossCase c;
  PreferenceLoss loss;
  loss.beta = 0.5;
  c.spec.loss = loss;
  c.target_kind = TargetKind::kNone;
  c.predictions = OwnedTensor::Of(DType::kF64, {4}, {-1, -2, -3, -4});
  c.second_predictions = OwnedTensor::Of(DType::kF64, {4}, {-2, -2, -1, -9});
  c.reference_log_probabilities = OwnedTensor::Of(DType::kF64, {4}, {-1, -1, -1, -1});
  c.second_reference_log_probabilities = OwnedTensor::Of(DType::kF64, {4}, {-1, -2, -1, -1});
  c.position_weights = OwnedTensor::Of(DType::kF64, {4}, {1, 1, 2, 0});
  const CoreAnswer answer = RunCore(c);
  ASSERT_TRUE(answer.status.ok()) << answer.status;
  const PreferenceMetrics& got = *answer.result.preference;
  EXPECT_EQ(got.active_count, 3);
  EXPECT_EQ(got.preferred_count, 1);
  EXPECT_EQ(got.chosen_reward_sum, 0.5 * (0 - 1 - 2));
  EXPECT_EQ(got.rejected_reward_sum, 0.5 * (-1 + 0 + 0));
}

TEST(ZLoss, IsToldApart) {
  Random random(66);
  for (const bool dense : {false, true}) {
    LossCase c;
    SoftmaxLoss loss;
    loss.lse_square_scale = 0.25;
    c.spec.loss = loss;
    c.spec.loss_weight = 2;
    c.spec.outputs.log_sum_exp = true;
    c.predictions = OwnedTensor::Make(DType::kF64, {7, 5}, Layout::kRowMajor,
                                      [&](int64_t) { return random.Uniform(-2, 2); });
    c.position_weights = OwnedTensor::Of(DType::kF64, {7}, {1, 0, 2, 1, 1, 1, 0.5});
    c.target_kind = dense ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
    c.targets =
        OwnedTensor::Make(dense ? DType::kF64 : DType::kI64,
                          dense ? std::vector<int64_t>{7, 5} : std::vector<int64_t>{7},
                          Layout::kRowMajor, [&](int64_t i) { return dense ? 0.2L : Real(i % 5); });
    CoreAnswer answer = RunCore(c);
    ASSERT_TRUE(answer.status.ok()) << answer.status;
    Real want = 0;
    for (int64_t i = 0; i < 7; ++i) {
      const Real lse = At(answer.outputs.log_sum_exp, DType::kF64, i);
      want += 2 * c.position_weights->at(i) * 0.25L * lse * lse;
    }
    ExpectNear(answer.result.z_loss_sum, want, 1e-14L, "z_loss_sum");
  }
}

}  // namespace
}  // namespace lossd::oracle
