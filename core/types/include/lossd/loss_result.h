#ifndef LOSSD_LOSS_RESULT_H_
#define LOSSD_LOSS_RESULT_H_

#include <cstdint>
#include <optional>

#include "lossd/exact_sum.h"

namespace lossd {

// Sums and counts over some positions. Merging is exact: any order, any grouping, same bits.
struct PartialSums {
  ExactSum loss_sum;    // of L * q_i * l_i
  ExactSum weight_sum;  // of q_i * w(y_i) over positions not ignored
  int64_t position_count = 0;
  int64_t valid_count = 0;
  int64_t ignored_count = 0;
  int64_t clamped_count = 0;
  int64_t nonfinite_count = 0;
  int64_t correct_count = 0;

  void Merge(const PartialSums& other);

  friend bool operator==(const PartialSums&, const PartialSums&) = default;
};

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
  PartialSums exact;                     // the same, mergeable

  // The answer to merged sums: rounds each once. `loss_without_denominator` is the loss where D is
  // 0; `hits_wanted` says whether OutputSet::argmax_hits is on.
  static LossResult From(const PartialSums& sums, double denominator,
                         double loss_without_denominator, bool hits_wanted);
};

}  // namespace lossd

#endif  // LOSSD_LOSS_RESULT_H_
