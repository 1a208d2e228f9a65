#ifndef LOSSD_TESTS_SUPPORT_ORACLE_ROW_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_ROW_H_

#include <cstdint>
#include <vector>

#include "lossd/loss_spec.h"
#include "tests/support/oracle_elements.h"
#include "tests/support/real.h"

namespace lossd::oracle {

// One position and all its classes.
struct Row {
  std::vector<Real> x;         // predictions
  std::vector<Real> weights;   // w(k), normalised
  std::vector<Real> bias;      // of each class; empty: none
  std::vector<Real> targets;   // t'(k), smoothed
  int64_t label = -1;          // y for class indices, else -1
  bool smoothed = false;       // whether label smoothing made `targets`
  std::vector<Real> second;    // second predictions, of losses of whole rows
  Real target = 0;             // of losses with one for each position
  std::vector<size_t> labels;  // of losses with a list for each position
  std::vector<Real> metric;    // [classes][classes], the costs between classes
  // Of a loss over elements, which looks at this and weights[0]; of a policy what belongs to a
  // token.
  Element element;

  int64_t classes() const { return static_cast<int64_t>(x.size()); }
  // Class indices without smoothing: only x_y carries a coefficient.
  bool one_hot() const { return label >= 0 && !smoothed; }
  // Whether class k is looked at: for one-hot targets y whatever its weight, else where w(k) t'(k)
  // is not 0.
  bool used(int64_t k) const { return one_hot() ? k == label : coefficient(k) != 0; }
  // w(k) t'(k): how much class k counts.
  Real coefficient(int64_t k) const { return targets[k] == 0 ? 0 : weights[k] * targets[k]; }
};

// l of semantics.md, before L, q and D, and its derivatives. An entry whose bound is 0 is exact.
// The bounds do not include the rounding to an output dtype.
struct RowAnswer {
  Real loss = 0;
  Real loss_bound = 0;
  std::vector<Real> slope;  // dl/dx_k
  std::vector<Real> slope_bound;
  std::vector<Real> second_slope;  // of losses with a second gradient
  std::vector<Real> second_slope_bound;
  Sized sum;               // of losses of whole rows: the terms of the loss
  bool nonfinite = false;  // made NaN by its predictions
  bool clamped = false;

  // Softmax loss only.
  Real log_sum_exp = 0;
  Real log_sum_exp_bound = 0;
  Real entropy = 0;
  Real entropy_bound = 0;
  std::vector<Real> log_probabilities;
  std::vector<Real> log_probabilities_bound;
  std::vector<Real> probabilities;
  std::vector<Real> probabilities_bound;
};

// Whether a position counts something that its class weight does not scale.
bool CountsWithoutWeight(const Loss& loss);

// `compute_type`: f64 for f64 predictions, else f32; the bounds are in terms of its roundoff.
RowAnswer ComputeRow(const Loss& loss, const Row& row, DType compute_type);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_ROW_H_
