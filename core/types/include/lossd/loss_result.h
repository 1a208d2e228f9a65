#ifndef LOSSD_LOSS_RESULT_H_
#define LOSSD_LOSS_RESULT_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "lossd/loss_sums.h"

namespace lossd {

struct LossResult {
  double loss = 0;      // loss_sum / denominator
  double loss_sum = 0;  // before D
  double weight_sum = 0;
  double denominator = 0;  // D; 0 where the all-ignored policy decided
  int64_t position_count = 0;
  int64_t valid_count = 0;
  int64_t ignored_count = 0;
  int64_t clamped_count = 0;             // positions at which log_epsilon or log_floor took effect
  int64_t nonfinite_count = 0;           // rows made NaN by their predictions
  std::optional<int64_t> correct_count;  // with OutputSet::argmax_hits
  double z_loss_sum = 0;                 // the part of loss_sum that is z-loss
  int64_t infeasible_count = 0;          // sequences whose frames cannot spell their labels
  std::optional<PolicyMetrics> policy;   // of a policy loss
  std::optional<PreferenceMetrics> preference;  // of a preference loss
  PartialSums exact;                            // the same, mergeable

  // The answer to merged sums: rounds each once. `loss_without_denominator` is the loss where D is
  // 0; `hits_wanted` says whether OutputSet::argmax_hits is on.
  static LossResult From(const PartialSums& sums, double denominator,
                         double loss_without_denominator, bool hits_wanted);
};

// Of a result, its members that are those of its sums; the number is that of its own message.
template <class T, class Exact>
struct ResultMember {
  int number;
  std::string_view name;
  T LossResult::*member;
  Exact PartialSums::*exact;
};
inline constexpr ResultMember<double, ExactSum> kResultSums[] = {
    {2, "loss_sum", &LossResult::loss_sum, &PartialSums::loss_sum},
    {3, "weight_sum", &LossResult::weight_sum, &PartialSums::weight_sum},
    {12, "z_loss_sum", &LossResult::z_loss_sum, &PartialSums::z_loss_sum}};
// But for correct_count, which may be absent.
inline constexpr ResultMember<int64_t, int64_t> kResultCounts[] = {
    {5, "position_count", &LossResult::position_count, &PartialSums::position_count},
    {6, "valid_count", &LossResult::valid_count, &PartialSums::valid_count},
    {7, "ignored_count", &LossResult::ignored_count, &PartialSums::ignored_count},
    {8, "clamped_count", &LossResult::clamped_count, &PartialSums::clamped_count},
    {9, "nonfinite_count", &LossResult::nonfinite_count, &PartialSums::nonfinite_count},
    {13, "infeasible_count", &LossResult::infeasible_count, &PartialSums::infeasible_count}};

}  // namespace lossd

#endif  // LOSSD_LOSS_RESULT_H_
