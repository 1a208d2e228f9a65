#include "lossd/loss_result.h"

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

}  // namespace lossd
