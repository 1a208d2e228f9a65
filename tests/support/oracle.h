#ifndef LOSSD_TESTS_SUPPORT_ORACLE_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "lossd/loss_spec.h"
#include "tests/support/real.h"

// What a loss computation should answer, found the dull way: one thread, one element at a time, in
// long double, straight from the formulas of docs/semantics.md and with no code of the core.
namespace lossd::oracle {

// Values, and how far from each a conforming implementation may be: |got - values[i]| <= bounds[i].
// The bounds are those of docs/semantics.md, "Accuracy", with the rounding to the dtype of the
// output included; where each term comes from is said in oracle_row.cc and oracle.cc.
struct Bounded {
  std::vector<Real> values;
  std::vector<Real> bounds;
};
// As the bound of 0: +0 or NaN is wanted.
inline constexpr Real kZeroOrNan = std::numeric_limits<Real>::quiet_NaN();

// Arrays have the element order of the predictions; the scalars are Bounded of one element.
struct Answer {
  // Not empty: the request is refused (the two ERROR policies), and nothing below counts.
  std::string refused;

  Bounded loss;
  Bounded loss_sum;
  Bounded weight_sum;
  Bounded denominator;
  int64_t position_count = 0;
  int64_t valid_count = 0;
  int64_t ignored_count = 0;
  int64_t clamped_count = 0;
  int64_t nonfinite_count = 0;
  int64_t correct_count = 0;

  Bounded position_losses;
  Bounded log_sum_exp;  // softmax loss only, as the next two
  Bounded label_log_probabilities;
  Bounded entropy;
  std::vector<int> hits;
  std::vector<int> ranks;
  Bounded gradient;
  Bounded second_gradient;  // of losses that have it
  // Some coefficient or derivative is beyond the range that is promised ("Accuracy").
  bool gradient_saturates = false;
  Bounded probabilities;  // softmax loss only
};

// Precondition: a valid request (labels in range, weights >= 0, shapes that fit).
Answer Compute(const LossSpec& spec, const LossInputs& inputs);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_H_
