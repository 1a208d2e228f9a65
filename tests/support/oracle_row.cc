#include "tests/support/oracle_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lossd::oracle {
namespace {

constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();
constexpr Real kInf = std::numeric_limits<Real>::infinity();

// The additive constant of the bounds of semantics.md: exp, log, the sum over the classes and the
// few products around them, in units of the roundoff.
constexpr Real kRowConstant = 16;

bool Poisonous(Real x) { return std::isnan(x) || x == kInf; }

void FillNan(std::vector<Real>& values) { std::fill(values.begin(), values.end(), kNan); }

// ---------------------------------------------------------------------------------- softmax

// What one softmax row is made of: s_k = e_k / total.
struct SoftmaxParts {
  Real maximum = -kInf;
  std::vector<Real> e;  // exp(x_k - maximum)
  Real total = 0;
  Real log_total = 0;  // without cancellation where the maximum stands alone
};

SoftmaxParts SoftmaxOf(const std::vector<Real>& x) {
  SoftmaxParts parts;
  size_t top = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    if (x[k] > parts.maximum) {
      parts.maximum = x[k];
      top = k;
    }
  }
  Real others = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    parts.e.push_back(std::exp(x[k] - parts.maximum));
    if (k != top) others += parts.e[k];
  }
  parts.total = 1 + others;
  parts.log_total = std::log1p(others);
  return parts;
}

// |x_k - m| + ln C + 16, the bracket of every softmax bound: the argument of exp is rounded in
// proportion to its size, the logarithm of the sum is at most ln C, and the rest is constant.
Real Bracket(Real distance, int64_t classes) {
  return distance + std::log(Real(classes)) + kRowConstant;
}

// s_k times the bracket; 0 for a masked class, whose distance is infinite.
Real ScaledBracket(Real s, Real distance, int64_t classes) {
  return s == 0 ? 0 : s * Bracket(distance, classes);
}

void SoftmaxLossOf(const Row& row, const SoftmaxParts& parts, Real log_floor, Real u, Real smallest,
                   RowAnswer& answer) {
  const Real ceiling = log_floor > 0 ? -std::log(log_floor) : kInf;
  for (int64_t k = 0; k < row.classes(); ++k) {
    if (!row.used(k)) continue;
    const Real minus_log = (parts.maximum - row.x[k]) + parts.log_total;
    if (minus_log > ceiling) answer.clamped = true;
    const Real coefficient = row.coefficient(k);
    if (coefficient == 0) continue;
    answer.loss += coefficient * std::min(minus_log, ceiling);
    // 2u w t' (|m - x_k| + ln C + 16); taking the minimum with the ceiling adds no error.
    const Real distance = std::min(parts.maximum - row.x[k], ceiling);
    answer.loss_bound += 2 * u * std::fabs(coefficient) * Bracket(distance, row.classes());
  }
  // Where y is the maximum the loss is log1p(sum of the others), which keeps relative accuracy as
  // long as the exponentials are normal numbers.
  if (row.one_hot() && row.x[row.label] == parts.maximum) {
    const Real relative = 16 * u * std::fabs(answer.loss);
    const Real underflow = row.classes() == 1 ? 0 : row.weights[row.label] * smallest;
    answer.loss_bound = std::min(answer.loss_bound, relative + underflow);
  }
}

void SoftmaxSlopeOf(const Row& row, const SoftmaxParts& parts, Real u, Real smallest,
                    RowAnswer& answer) {
  Real target_sum = 0;        // T
  Real target_magnitude = 0;  // the same with absolute values, for the bounds
  for (int64_t k = 0; k < row.classes(); ++k) {
    target_sum += row.coefficient(k);
    target_magnitude += std::fabs(row.coefficient(k));
  }
  for (int64_t k = 0; k < row.classes(); ++k) {
    const Real s = parts.e[k] / parts.total;
    const Real coefficient = row.coefficient(k);
    const bool is_label = k == row.label;
    if (s == 0 && std::isinf(row.x[k]) && coefficient == 0) continue;  // masked: exactly +0
    // 2u (s_k T (|x_k - m| + ln C + 16) + 2 w_k t'_k + [k = y] w (1 - s_y)): the product w_k t'_k
    // is rounded, scaled and subtracted, each once. An exponential below the smallest normal number
    // may have become 0.
    Real bound = target_magnitude * ScaledBracket(s, parts.maximum - row.x[k], row.classes());
    Real others = 0;
    if (is_label) {
      for (int64_t j = 0; j < row.classes(); ++j) others += j == k ? 0 : parts.e[j];
      bound += row.weights[k] * (others / parts.total);
    }
    if (row.one_hot()) {
      answer.slope[k] = is_label ? 0 - coefficient * (others / parts.total) : target_sum * s;
    } else {
      answer.slope[k] = s * target_sum - coefficient;
      bound += 2 * std::fabs(coefficient);
    }
    bound *= 2 * u;
    // The label's entry at the maximum is -(sum of the others) / total: no cancellation either.
    if (row.one_hot() && is_label && row.x[k] == parts.maximum) {
      bound = std::min(bound, 32 * u * std::fabs(answer.slope[k]));
      if (row.classes() == 1) continue;  // no others: exactly 0
    }
    answer.slope_bound[k] = bound + smallest * target_magnitude;
  }
}

void RowOf(const SoftmaxLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  const bool all_masked =
      std::all_of(row.x.begin(), row.x.end(), [](Real x) { return x == -kInf; });
  if (all_masked || std::any_of(row.x.begin(), row.x.end(), Poisonous)) {
    answer.nonfinite = true;
    answer.loss = kNan;
    answer.log_sum_exp = kNan;
    FillNan(answer.slope);
    answer.probabilities = answer.slope;
    answer.probabilities_bound = answer.slope_bound;
    return;
  }
  const SoftmaxParts parts = SoftmaxOf(row.x);
  SoftmaxLossOf(row, parts, loss.log_floor, u, smallest, answer);
  SoftmaxSlopeOf(row, parts, u, smallest, answer);

  answer.log_sum_exp = parts.maximum + parts.log_total;
  // The logarithm as in the loss, then one addition in f64.
  answer.log_sum_exp_bound =
      2 * u * Bracket(0, row.classes()) + UnitRoundoff(DType::kF64) * std::fabs(answer.log_sum_exp);
  for (int64_t k = 0; k < row.classes(); ++k) {
    const Real s = parts.e[k] / parts.total;
    answer.probabilities.push_back(s);
    const bool exact = std::isinf(row.x[k]);
    answer.probabilities_bound.push_back(
        exact ? 0 : 2 * u * ScaledBracket(s, parts.maximum - row.x[k], row.classes()) + smallest);
  }
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

}  // namespace

RowAnswer ComputeRow(const Loss& loss, const Row& row, DType compute_type) {
  RowAnswer answer;
  answer.slope.assign(row.x.size(), 0);
  answer.slope_bound.assign(row.x.size(), 0);
  const Real u = UnitRoundoff(compute_type);
  // A loss without a RowOf or a ValueOf of its own does not compile.
  const Real smallest = SmallestNormal(compute_type);
  std::visit(
      [&]<class L>(const L& l) {
        if constexpr (MayBeOf<L>(Family::kElements)) {
          ElementOf(l, row, u, smallest, answer);
        } else {
          RowOf(l, row, u, smallest, answer);
        }
      },
      loss);
  return answer;
}

}  // namespace lossd::oracle
