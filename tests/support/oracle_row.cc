#include "tests/support/oracle_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/oracle_softmax.h"
#include "tests/support/oracle_vectors.h"

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
  slope(value.second, answer.second_slope[0], answer.second_slope_bound[0]);
  if (!std::isnan(answer.loss)) return;
  answer.loss = kNan;
}

// ---------------------------------------------------------------------------------- rows

// A loss in double, from its terms; one that is not finite has no slope.
void FinishRow(const Sized& sum, bool foreign_nan, RowAnswer& answer) {
  answer.loss = sum.value;
  answer.loss_bound = 16 * UnitRoundoff(DType::kF64) * sum.size + SmallestNormal(DType::kF64);
  if (std::isfinite(sum.value)) return;
  answer.nonfinite = !(std::isnan(sum.value) && foreign_nan);
  if (std::isnan(sum.value)) answer.loss = kNan;
  FillNan(answer.slope);
  FillNan(answer.second_slope);
}

void RowOf(const KlDivergenceLoss& loss, const Row& row, Real u, Real /*smallest*/,
           RowAnswer& answer) {
  Sized sum;
  for (int64_t k = 0; k < row.classes(); ++k) {
    const Real t = loss.log_targets ? std::exp(row.targets[k]) : row.targets[k];
    const Real c = row.weights[k] == 0 ? 0 : row.weights[k] * t;
    sum.Add(c, loss.log_targets ? row.targets[k] : std::log(t)).Add(-c, row.x[k]);
    answer.slope[k] = -c;
    answer.slope_bound[k] = 16 * u * std::fabs(c);
  }
  const bool foreign =
      std::any_of(row.targets.begin(), row.targets.end(), [](Real t) { return std::isnan(t); });
  FinishRow(sum, foreign, answer);
}

void RowOf(const MultiMarginLoss& loss, const Row& row, Real u, Real /*smallest*/,
           RowAnswer& answer) {
  const auto y = static_cast<size_t>(row.label);
  const Real w = row.weights[y];
  const bool squared = loss.power == 2;
  const bool largest = loss.aggregate == MarginAggregate::kMax;
  const Real share = largest ? 1 : Real(1) / row.classes();
  Sized sum;
  size_t top = y;
  Real most = 0;
  for (size_t k = 0; k < row.x.size(); ++k) {
    const Real v = k == y ? 0 : loss.margin - row.x[y] + row.x[k];
    if (v <= 0) continue;
    if (largest && !(v > most) && !std::isnan(v)) continue;
    if (largest && top != y) {
      sum = Sized();
      answer.slope[top] = answer.slope[y] = 0;
    }
    top = k;
    most = v;
    const Real sizes = loss.margin + std::fabs(row.x[y]) + std::fabs(row.x[k]);
    sum.Add(w * share, squared ? v * v : v).Rounded(w * share * (squared ? 2 * v : 1) * sizes);
    const Real slope = w * share * (squared ? 2 * v : std::isnan(v) ? v : 1);
    const Real bound = 16 * UnitRoundoff(DType::kF64) * w * share * (squared ? 2 * sizes : 1);
    answer.slope[k] = slope;
    answer.slope[y] -= slope;
    answer.slope_bound[k] = bound + 16 * u * std::fabs(slope);
    answer.slope_bound[y] += bound + 16 * u * std::fabs(slope);
  }
  FinishRow(sum, false, answer);
}

void RowOf(const MultiLabelMarginLoss&, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  MultiLabelMarginRow(row, u, smallest, answer);
  FinishRow(answer.sum, false, answer);
}

void RowOf(const CosineEmbeddingLoss& loss, const Row& row, Real u, Real smallest,
           RowAnswer& answer) {
  CosineEmbeddingRow(loss, row, u, smallest, answer);
  FinishRow(answer.sum, std::isnan(row.target), answer);
}

void RowOf(const WassersteinLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  WassersteinRow(loss, row, u, smallest, answer);
  const bool foreign =
      std::any_of(row.targets.begin(), row.targets.end(), [](Real t) { return std::isnan(t); });
  FinishRow(answer.sum, foreign, answer);
}

// log softmax(x / T), from the definition.
std::vector<Real> LogSoftmax(const std::vector<Real>& x, Real temperature) {
  const Real peak = *std::max_element(x.begin(), x.end());
  Real others = -1;
  for (const Real value : x) others += std::exp((value - peak) / temperature);
  std::vector<Real> logs;
  for (const Real value : x) logs.push_back((value - peak) / temperature - std::log1p(others));
  return logs;
}

bool IsPoisonousRow(const std::vector<Real>& x) {
  return std::any_of(x.begin(), x.end(), Poisonous) ||
         std::all_of(x.begin(), x.end(), [](Real v) { return v == -kInf; });
}

// sum p log(p / q), which is infinite where q alone is 0; sizes for what the differences of
// logarithms lose.
Sized KlOf(const std::vector<Real>& log_p, const std::vector<Real>& log_q) {
  Sized sum;
  for (size_t k = 0; k < log_p.size(); ++k) {
    const Real p = std::exp(log_p[k]);
    const Real q = std::exp(log_q[k]);
    if (p == 0) continue;
    sum.value += p * (log_p[k] - log_q[k]);
    if (q > 0) sum.size += p * (std::fabs(log_p[k]) + std::fabs(log_q[k]) + 1) + q;
  }
  return sum;
}

void RowOf(const DistillationLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  if (IsPoisonousRow(row.x) || IsPoisonousRow(row.second)) {
    answer.nonfinite = true;
    answer.loss = kNan;
    FillNan(answer.slope);
    return;
  }
  const Real temperature = loss.temperature;
  const Real scale = loss.temperature_squared ? temperature * temperature : 1;
  const std::vector<Real> lp = LogSoftmax(row.second, temperature);
  const std::vector<Real> lq = LogSoftmax(row.x, temperature);
  const Real b = loss.mixture.value_or(0.5);
  std::vector<Real> lm;
  for (size_t k = 0; k < lp.size(); ++k) {
    lm.push_back(std::log(b * std::exp(lp[k]) + (1 - b) * std::exp(lq[k])));
  }
  const bool forward = loss.divergence == Divergence::kForwardKl;
  const bool reverse = loss.divergence == Divergence::kReverseKl;
  Sized sum = forward ? KlOf(lp, lq) : KlOf(lq, reverse ? lp : lm);
  const Real of_student = sum.value;
  const Real student_size = sum.size;
  if (!forward && !reverse) {
    const Sized of_teacher = KlOf(lp, lm);
    sum = {b * of_teacher.value + (1 - b) * of_student, of_teacher.size + sum.size};
  }
  answer.loss = scale * sum.value;
  answer.loss_bound = 32 * UnitRoundoff(DType::kF64) * scale * sum.size + smallest;
  if (std::isinf(answer.loss)) {
    answer.nonfinite = true;
    FillNan(answer.slope);
    return;
  }
  for (size_t k = 0; k < lp.size(); ++k) {
    const Real p = std::exp(lp[k]);
    const Real q = std::exp(lq[k]);
    if (p == 0 && q == 0) continue;
    const Real logs = (p > 0 ? std::fabs(lp[k]) : 0) + (q > 0 ? std::fabs(lq[k]) : 0) + 1;
    Real slope = q - p;
    Real size = (p + q) * logs;
    if (!forward) {
      slope = q == 0 ? 0 : q * (lq[k] - (reverse ? lp[k] : lm[k]) - of_student);
      // Of a mixture, what the teacher alone has is rounded, too.
      size = (reverse ? q : p + q) * (logs + student_size);
      if (!reverse) slope *= 1 - b;
    }
    answer.slope[k] = scale / temperature * slope;
    answer.slope_bound[k] = scale / temperature * 32 * UnitRoundoff(DType::kF64) * size +
                            16 * u * std::fabs(answer.slope[k]) + smallest;
  }
}

// ---------------------------------------------------------------------------------- tokens

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
  answer.second_slope.assign(row.x.size(), 0);
  answer.second_slope_bound.assign(row.x.size(), 0);
  const Real u = UnitRoundoff(compute_type);
  // A loss without a RowOf or a ValueOf of its own does not compile.
  const Real smallest = SmallestNormal(compute_type);
  std::visit(
      [&]<class L>(const L& l) {
        if constexpr (std::is_same_v<L, QuantileLoss>) {
          if (!l.several()) return ElementOf(l, row, u, smallest, answer);
          QuantilesRow(l, row, u, smallest, answer);
          FinishRow(answer.sum, std::isnan(row.target), answer);
        } else if constexpr (LossRow<L>::kFamily == Family::kElements) {
          ElementOf(l, row, u, smallest, answer);
        } else if constexpr (std::is_same_v<L, PolicyLoss>) {
          l.of_logits() ? TokenOf(l, row, u, smallest, answer)
                        : ElementOf(l, row, u, smallest, answer);
        } else if constexpr (LossRow<L>::kFamily == Family::kSequences ||
                             LossRow<L>::kFamily == Family::kGroups) {
          // No row has it: ctc_test.cc, tversky_test.cc.
        } else {
          RowOf(l, row, u, smallest, answer);
        }
      },
      loss);
  return answer;
}

}  // namespace lossd::oracle
