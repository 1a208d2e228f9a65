#ifndef LOSSD_LOSS_SUMS_H_
#define LOSSD_LOSS_SUMS_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "lossd/exact_sum.h"

// What is added up over positions, and how such sums merge. A new sum or count is a field in
// loss.proto, a member and a row here; codec, merging, reports and tests loop over the rows.

namespace lossd {

// What a policy loss says of its tokens: those with q > 0 that are not ignored, unweighted. S is
// ExactSum, or double where sums are rounded.
template <class S>
struct PolicySumsOf {
  S kl_old_sum = {};        // of old - lp
  S kl_reference_sum = {};  // of the estimator's value; 0 without a reference
  S ratio_sum = {};
  S entropy_sum = {};              // with outputs.entropy
  int64_t clipped_low_count = 0;   // ppo: A < 0 and r < ratio_low; cispo: r < ratio_low
  int64_t clipped_high_count = 0;  // ppo: A > 0 and r > ratio_high; cispo: r > ratio_high
  int64_t capped_count = 0;        // ppo: A < 0 and r > ratio_cap
  int64_t active_count = 0;        // tokens
  double ratio_max = 0;            // 0 without a token; NaNs are left out
  double ratio_min = std::numeric_limits<double>::infinity();  // likewise infinite

  friend bool operator==(const PolicySumsOf&, const PolicySumsOf&) = default;
};
using PolicySums = PolicySumsOf<ExactSum>;
using PolicyMetrics = PolicySumsOf<double>;

// What a preference loss says of its pairs: those with q > 0, unweighted.
template <class S>
struct PreferenceSumsOf {
  S chosen_reward_sum = {};     // of beta a
  S rejected_reward_sum = {};   // of beta b
  int64_t preferred_count = 0;  // pairs with beta a > beta b
  int64_t active_count = 0;     // pairs

  friend bool operator==(const PreferenceSumsOf&, const PreferenceSumsOf&) = default;
};
using PreferenceSums = PreferenceSumsOf<ExactSum>;
using PreferenceMetrics = PreferenceSumsOf<double>;

// A member of M; the number is its field in the message.
template <class M, class T>
struct SumsMember {
  int number;
  std::string_view name;
  T M::*member;
  std::string_view help;
};

// The members of the sums: kSums, kCounts, kExtremes. An extreme is the largest, or the least.
template <class M>
struct SumsRows;

template <class M>
struct ExtremeMember : SumsMember<M, double> {
  bool largest;
};

template <class S>
struct SumsRows<PolicySumsOf<S>> {
  using M = PolicySumsOf<S>;
  static constexpr SumsMember<M, S> kSums[] = {
      {1, "kl_old_sum", &M::kl_old_sum, "Sum of the old log-probability minus the new."},
      {2, "kl_reference_sum", &M::kl_reference_sum, "Sum of the estimated divergence."},
      {3, "ratio_sum", &M::ratio_sum, "Sum of the ratios."},
      {4, "entropy_sum", &M::entropy_sum, "Sum of the entropies, with the output entropy."}};
  static constexpr SumsMember<M, int64_t> kCounts[] = {
      {5, "clipped_low_count", &M::clipped_low_count, "Tokens whose ratio was below its range."},
      {6, "clipped_high_count", &M::clipped_high_count, "Tokens whose ratio was above its range."},
      {7, "capped_count", &M::capped_count, "Tokens whose ratio was above the cap."},
      {10, "active_count", &M::active_count, "Tokens with a position weight > 0."}};
  static constexpr ExtremeMember<M> kExtremes[] = {
      {{8, "ratio_max", &M::ratio_max, "The largest ratio."}, true},
      {{9, "ratio_min", &M::ratio_min, "The least ratio."}, false}};
};

template <class S>
struct SumsRows<PreferenceSumsOf<S>> {
  using M = PreferenceSumsOf<S>;
  static constexpr SumsMember<M, S> kSums[] = {
      {1, "chosen_reward_sum", &M::chosen_reward_sum, "Sum of the chosen ones' rewards."},
      {2, "rejected_reward_sum", &M::rejected_reward_sum, "Sum of the rejected ones' rewards."}};
  static constexpr SumsMember<M, int64_t> kCounts[] = {
      {3, "preferred_count", &M::preferred_count, "Pairs whose chosen reward is the larger."},
      {4, "active_count", &M::active_count, "Pairs with a position weight > 0."}};
  static constexpr std::array<ExtremeMember<M>, 0> kExtremes = {};
};

// Sums and counts over some positions. Merging is exact: any order, any grouping, same bits.
struct PartialSums {
  ExactSum loss_sum;    // of L * q_i * l_i
  ExactSum weight_sum;  // of q_i * w(y_i) over positions not ignored
  ExactSum z_loss_sum;  // of L * q_i * lse_square_scale * lse_i^2, which loss_sum contains
  int64_t position_count = 0;
  int64_t valid_count = 0;
  int64_t ignored_count = 0;
  int64_t clamped_count = 0;
  int64_t nonfinite_count = 0;
  int64_t correct_count = 0;
  int64_t infeasible_count = 0;
  std::optional<PolicySums> policy;          // of a policy loss
  std::optional<PreferenceSums> preference;  // of a preference loss

  void Merge(const PartialSums& other);

  friend bool operator==(const PartialSums&, const PartialSums&) = default;
};

template <>
struct SumsRows<PartialSums> {
  using M = PartialSums;
  static constexpr SumsMember<M, ExactSum> kSums[] = {
      {1, "loss_sum", &M::loss_sum, "Sum of the weighted losses, before the denominator."},
      {2, "weight_sum", &M::weight_sum, "Sum of the weights of positions that are not ignored."},
      {9, "z_loss_sum", &M::z_loss_sum, "The part of loss_sum that is z-loss."}};
  static constexpr SumsMember<M, int64_t> kCounts[] = {
      {3, "position_count", &M::position_count, "Positions."},
      {4, "valid_count", &M::valid_count, "Positions that are not ignored."},
      {5, "ignored_count", &M::ignored_count, "Positions that are ignored."},
      {6, "clamped_count", &M::clamped_count, "Positions whose loss was clamped."},
      {7, "nonfinite_count", &M::nonfinite_count, "Rows made NaN by their predictions."},
      {8, "correct_count", &M::correct_count, "With the output argmax_hits."},
      {12, "infeasible_count", &M::infeasible_count,
       "Sequences whose frames cannot spell their labels."}};
  static constexpr std::array<ExtremeMember<M>, 0> kExtremes = {};
};

// Adds sums to others of their kind, members that are sums themselves left out.
template <class M>
void MergeMembers(const M& from, M& into) {
  for (const auto& row : SumsRows<M>::kSums) (into.*row.member).Merge(from.*row.member);
  for (const auto& row : SumsRows<M>::kCounts) into.*row.member += from.*row.member;
  for (const auto& row : SumsRows<M>::kExtremes) {
    double& to = into.*row.member;
    to = row.largest ? std::fmax(to, from.*row.member) : std::fmin(to, from.*row.member);
  }
}

}  // namespace lossd

#endif  // LOSSD_LOSS_SUMS_H_
