#include "lossd/loss_result.h"

#include <cmath>
#include <limits>

namespace lossd {
namespace {

template <class M>
void MergeOptional(const std::optional<M>& from, std::optional<M>& into) {
  if (!from) return;
  if (!into) into.emplace();
  MergeMembers(*from, *into);
}

// Rounds each sum.
template <template <class> class M>
std::optional<M<double>> Rounded(const std::optional<M<ExactSum>>& exact) {
  if (!exact) return std::nullopt;
  M<double> rounded;
  const auto copy = [&](const auto& to, const auto& from, auto convert) {
    for (size_t i = 0; i < std::size(to); ++i) {
      rounded.*to[i].member = convert((*exact).*from[i].member);
    }
  };
  using To = SumsRows<M<double>>;
  using From = SumsRows<M<ExactSum>>;
  copy(To::kSums, From::kSums, [](const ExactSum& sum) { return sum.Round(); });
  copy(To::kCounts, From::kCounts, [](int64_t count) { return count; });
  copy(To::kExtremes, From::kExtremes, [](double extreme) { return extreme; });
  return rounded;
}

}  // namespace

void PartialSums::Merge(const PartialSums& other) {
  MergeMembers(other, *this);
  MergeOptional(other.policy, policy);
  MergeOptional(other.preference, preference);
}

LossResult LossResult::From(const PartialSums& sums, double denominator,
                            double loss_without_denominator, bool hits_wanted) {
  LossResult result;
  for (const auto& row : kResultSums) result.*row.member = (sums.*row.exact).Round();
  for (const auto& row : kResultCounts) result.*row.member = sums.*row.exact;
  result.denominator = denominator;
  result.loss = denominator == 0 ? loss_without_denominator : result.loss_sum / denominator;
  // One and the same NaN: the sign of inf / inf is the processor's affair.
  if (std::isnan(result.loss)) result.loss = std::numeric_limits<double>::quiet_NaN();
  if (hits_wanted) result.correct_count = sums.correct_count;
  result.policy = Rounded<PolicySumsOf>(sums.policy);
  result.preference = Rounded<PreferenceSumsOf>(sums.preference);
  result.exact = sums;
  return result;
}

}  // namespace lossd
