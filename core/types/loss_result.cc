#include "lossd/loss_result.h"

#include <cmath>
#include <limits>

namespace lossd {

void PartialSums::Merge(const PartialSums& other) {
  loss_sum.Merge(other.loss_sum);
  weight_sum.Merge(other.weight_sum);
  position_count += other.position_count;
  valid_count += other.valid_count;
  ignored_count += other.ignored_count;
  clamped_count += other.clamped_count;
  nonfinite_count += other.nonfinite_count;
  correct_count += other.correct_count;
}

LossResult LossResult::From(const PartialSums& sums, double denominator,
                            double loss_without_denominator, bool hits_wanted) {
  LossResult result;
  result.loss_sum = sums.loss_sum.Round();
  result.weight_sum = sums.weight_sum.Round();
  result.denominator = denominator;
  result.loss = denominator == 0 ? loss_without_denominator : result.loss_sum / denominator;
  // One and the same NaN: the sign of inf / inf is the processor's affair.
  if (std::isnan(result.loss)) result.loss = std::numeric_limits<double>::quiet_NaN();
  result.position_count = sums.position_count;
  result.valid_count = sums.valid_count;
  result.ignored_count = sums.ignored_count;
  result.clamped_count = sums.clamped_count;
  result.nonfinite_count = sums.nonfinite_count;
  if (hits_wanted) result.correct_count = sums.correct_count;
  result.exact = sums;
  return result;
}

}  // namespace lossd
