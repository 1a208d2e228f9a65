#include "tests/support/oracle_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/oracle_softmax.h"

namespace lossd::oracle {
namespace {

constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();
constexpr Real kInf = std::numeric_limits<Real>::infinity();

bool Poisonous(Real x) { return std::isnan(x) || x == kInf; }

void FillNan(std::vector<Real>& values) { std::fill(values.begin(), values.end(), kNan); }

void RowOf(const SoftmaxLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  SoftmaxRow(loss, row, u, smallest, answer);
}

// ------------------------------------------------------------------------ multinomial and nll

// Whether the row is NaN, and if so makes it so: only predictions that are used count.
bool PoisonRow(const Row& row, RowAnswer& answer) {
  for (int64_t k = 0; k < row.classes(); ++k) {
    if (!row.used(k) || !Poisonous(row.x[k])) continue;
    answer.nonfinite = true;
    answer.loss = kNan;
    if (row.one_hot()) {
      answer.slope[k] = kNan;
    } else {
      FillNan(answer.slope);
    }
    return true;
  }
  return false;
}

void RowOf(const MultinomialLogisticLoss& loss, const Row& row, Real u, Real /*smallest*/,
           RowAnswer& answer) {
  if (PoisonRow(row, answer)) return;
  const Real epsilon = loss.log_epsilon;
  for (int64_t k = 0; k < row.classes(); ++k) {
    if (!row.used(k)) continue;
    if (row.x[k] < epsilon) answer.clamped = true;
    const Real coefficient = row.coefficient(k);
    if (coefficient == 0) continue;
    const Real value = row.x[k] > epsilon ? row.x[k] : epsilon;  // an epsilon of 0 is +0
    const Real term = -coefficient * std::log(value);
    answer.loss += term;
    // A logarithm of an exact number and three products: relative, as where softmax's y is the
    // maximum.
    answer.loss_bound += 16 * u * std::fabs(term);
    answer.slope[k] = -coefficient / value;
    answer.slope_bound[k] = 4 * 2 * u * std::fabs(answer.slope[k]);  // at most 4 roundings, doubled
  }
}

void RowOf(const NllLoss&, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  if (PoisonRow(row, answer)) return;
  for (int64_t k = 0; k < row.classes(); ++k) {
    const Real coefficient = row.coefficient(k);
    if (coefficient == 0) continue;
    const Real term = -coefficient * row.x[k];
    answer.loss += term;
    // Relative, and each product may be denormal: 2u times the smallest normal is one step there.
    answer.loss_bound += 16 * u * std::fabs(term) + 2 * u * smallest;
    answer.slope[k] = -coefficient;
    answer.slope_bound[k] = 2 * u * std::fabs(coefficient);  // the w_k t'_k of softmax's bound
  }
}

// ---------------------------------------------------------------------------------- elements

// Whether what belongs to an element makes it NaN; then it is not its predictions.
bool HasForeignNan(const Element& e) {
  return std::isnan(e.t) || std::isnan(e.reference) || std::isnan(e.second_reference) ||
         std::isnan(e.old_value) || std::isnan(e.advantage) || std::isnan(e.old);
}

// Losses are computed in double whatever the compute type; slopes are rounded to it.
template <class L>
void ElementOf(const L& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  const Element& e = row.element;
  const Real w = row.weights[0];
  const ElementValue value = ValueOf(loss, e);
  answer.nonfinite = std::isnan(e.x) ||
                     (FactsOf(Loss(loss)).second_gradient && std::isnan(e.second)) ||
                     (std::isnan(value.loss.value) && !HasForeignNan(e));
  answer.clamped = value.clamped;
  answer.loss = w * value.loss.value;
  answer.loss_bound =
      w * 16 * UnitRoundoff(DType::kF64) * value.loss.size + (1 + w) * SmallestNormal(DType::kF64);
  const auto slope = [&](const Sized& of, Real& to, Real& bound) {
    to = w * of.value;
    bound = w * 16 * u * std::fabs(of.value) + w * 16 * UnitRoundoff(DType::kF64) * of.size +
            w * smallest;
  };
  slope(value.slope, answer.slope[0], answer.slope_bound[0]);
  slope(value.second, answer.second_slope, answer.second_slope_bound);
  if (!std::isnan(answer.loss)) return;
  answer.loss = kNan;
}

// A token of a policy, from logits: the loss of its log-probability, which is that of cross
// entropy, and the entropy.
void TokenOf(const PolicyLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  SoftmaxLoss plain;
  plain.temperature = loss.temperature;
  plain.soft_cap = loss.soft_cap;
  RowAnswer of_label = answer;
  SoftmaxRow(plain, row, u, smallest, of_label);
  plain.entropy_bonus = loss.entropy_bonus;
  Row weightless = row;
  weightless.weights.assign(row.x.size(), 0);
  SoftmaxRow(plain, weightless, u, smallest, answer);
  if (answer.nonfinite) return;
  Element e = row.element;
  e.x = -of_label.loss;
  if (!e.has_old) e.old = e.x;
  const ElementValue token = ValueOf(loss, e);
  const Real g = token.slope.value;
  // The log-probability comes with an error of its own, which exponentials make relative.
  const Real error = 16 * UnitRoundoff(DType::kF64) + 4 * of_label.loss_bound;
  answer.loss += token.loss.value;
  answer.loss_bound += token.loss.size * error + std::fabs(g) * of_label.loss_bound;
  for (size_t k = 0; k < row.x.size(); ++k) {
    const Real slope = of_label.slope[k];
    if (slope == 0 && of_label.slope_bound[k] == 0) continue;
    answer.slope[k] -= g == 0 ? 0 : g * slope;
    answer.slope_bound[k] += std::fabs(g) * of_label.slope_bound[k] +
                             std::fabs(slope) * (token.slope.size * error + 16 * u * std::fabs(g)) +
                             smallest;
  }
}

}  // namespace

bool CountsWithoutWeight(const Loss& loss) {
  const auto* softmax = std::get_if<SoftmaxLoss>(&loss);
  return softmax != nullptr && (softmax->lse_square_scale > 0 || softmax->entropy_bonus > 0);
}

RowAnswer ComputeRow(const Loss& loss, const Row& row, DType compute_type) {
  RowAnswer answer;
  answer.slope.assign(row.x.size(), 0);
  answer.slope_bound.assign(row.x.size(), 0);
  const Real u = UnitRoundoff(compute_type);
  // A loss without a RowOf or a ValueOf of its own does not compile.
  const Real smallest = SmallestNormal(compute_type);
  std::visit(
      [&]<class L>(const L& l) {
        if constexpr (LossRow<L>::kFamily == Family::kElements) {
          ElementOf(l, row, u, smallest, answer);
        } else if constexpr (std::is_same_v<L, PolicyLoss>) {
          l.of_logits() ? TokenOf(l, row, u, smallest, answer)
                        : ElementOf(l, row, u, smallest, answer);
        } else {
          RowOf(l, row, u, smallest, answer);
        }
      },
      loss);
  return answer;
}

}  // namespace lossd::oracle
