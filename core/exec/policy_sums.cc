#include "core/exec/policy_sums.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>
#include <vector>

#include "core/exec/policy_options.h"

namespace lossd {
namespace {

// Ratios that an objective cuts off, and on which side of the advantage.
struct Bounds {
  double low = 0;
  double high = std::numeric_limits<double>::infinity();
  double cap = std::numeric_limits<double>::infinity();
  bool whatever_the_advantage = false;
};

Bounds BoundsOf(const PolicyLoss& loss) {
  if (const auto* const ppo = std::get_if<PpoObjective>(&loss.objective)) {
    return {ppo->ratio_low, ppo->ratio_high, ppo->ratio_cap.value_or(Bounds().cap), false};
  }
  if (const auto* const cispo = std::get_if<CispoObjective>(&loss.objective)) {
    return {cispo->ratio_low, cispo->ratio_high, Bounds().cap, true};
  }
  return {};
}

void CountRatio(const Bounds& bounds, double ratio, double advantage, PolicySums& sums) {
  const bool loses = advantage < 0 || bounds.whatever_the_advantage;
  const bool gains = advantage > 0 || bounds.whatever_the_advantage;
  if (loses && ratio < bounds.low) ++sums.clipped_low_count;
  if (gains && ratio > bounds.high) ++sums.clipped_high_count;
  if (advantage < 0 && ratio > bounds.cap) ++sums.capped_count;
  sums.ratio_max = std::fmax(sums.ratio_max, ratio);
  sums.ratio_min = std::fmin(sums.ratio_min, ratio);
}

// Buffers of a thread, kept from unit to unit.
struct Buffers {
  std::vector<double> ratio;
  std::vector<double> divergence;
  std::vector<double> terms;
};

}  // namespace

void AddPolicySums(const BoxJob& job, const Positions& positions, const TokenArrays& tokens,
                   int64_t output, UnitSums& unit) {
  const auto& loss = std::get<PolicyLoss>(job.run.plan.spec().loss);
  const int64_t count = positions.count;
  thread_local Buffers buffers;
  const double* ratio = tokens.ratio;
  const auto moved = [&](int64_t i) {
    return tokens.old == nullptr ? 0 : tokens.log_probability[i] - tokens.old[i];
  };
  if (ratio == nullptr) {
    buffers.ratio.assign(count + kernels::kGroup, 0);
    for (int64_t i = 0; i < count; ++i) buffers.ratio[i] = moved(i);
    kernels::Active().exp(buffers.ratio.data(), count, buffers.ratio.data());
    ratio = buffers.ratio.data();
  }
  buffers.divergence.assign(count + kernels::kGroup, 0);
  if (tokens.reference != nullptr) {
    PolicyOptions(loss).Divergences(tokens, count, buffers.divergence.data());
  }
  if (!unit.sums.policy) unit.sums.policy.emplace();
  PolicySums& sums = *unit.sums.policy;
  const Bounds bounds = BoundsOf(loss);
  for (int64_t i = 0; i < count; ++i) {
    if (positions.label[i] < 0 || positions.q[i] == 0) continue;
    ++sums.active_count;
    CountRatio(bounds, ratio[i], tokens.advantage[i], sums);
    sums.kl_old_sum.Add(OneNaN(-moved(i)));
    sums.ratio_sum.Add(OneNaN(ratio[i]));
    sums.kl_reference_sum.Add(OneNaN(buffers.divergence[i]));
    if (!job.run.plan.outputs().entropy) continue;
    sums.entropy_sum.Add(LoadReal(kernels::Real::kF64, job.out.entropy.data(), output + i));
  }
}

void AddPreferenceSums(const Positions& positions, double beta, const double* chosen,
                       const double* rejected, UnitSums& unit) {
  if (!unit.sums.preference) unit.sums.preference.emplace();
  PreferenceSums& sums = *unit.sums.preference;
  for (int64_t i = 0; i < positions.count; ++i) {
    if (positions.q[i] == 0) continue;
    const double chosen_reward = beta * chosen[i];
    const double rejected_reward = beta * rejected[i];
    ++sums.active_count;
    if (chosen_reward > rejected_reward) ++sums.preferred_count;
    sums.chosen_reward_sum.Add(OneNaN(chosen_reward));
    sums.rejected_reward_sum.Add(OneNaN(rejected_reward));
  }
}

}  // namespace lossd
