#include "tests/support/oracle_softmax.h"

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

// Logits as the options change them, and dz/dx with its relative error in units of the roundoff.
struct Logits {
  std::vector<Real> z;
  std::vector<Real> slope;
  std::vector<Real> slope_error;
  bool changed = false;
  Real most = 0;  // |z|, of what a soft cap leaves
};

// Cosines with a margin of the label's: z = scale x, and of the label scale (cos(acos x + a) - b).
Logits LogitsOfCosines(const SoftmaxMargin& margin, const Row& row) {
  Logits logits;
  logits.changed = true;
  logits.most = 3 * margin.scale * (1 + margin.angular + margin.additive);
  for (const Real x : row.x) {
    logits.z.push_back(margin.scale * x);
    logits.slope.push_back(margin.scale);
    logits.slope_error.push_back(4);
  }
  const auto y = static_cast<size_t>(row.label);
  if (!std::isfinite(row.x[y])) {
    logits.z[y] = kNan;
    return logits;
  }
  const Real x = std::clamp<Real>(row.x[y], -1, 1);
  const Real a = margin.angular;
  const Real angle = std::acos(x) + a;
  const bool beyond = angle > std::acos(Real(-1));
  const Real psi = beyond ? x - a * std::sin(a) : std::cos(angle);
  const Real sine = std::fmax(std::sqrt(1 - x * x), 1e-6L);
  const Real slope = beyond || margin.straight_through ? 1 : std::cos(a) + x * std::sin(a) / sine;
  logits.z[y] = margin.scale * (psi - margin.additive);
  logits.slope[y] = margin.scale * slope;
  logits.slope_error[y] = 16;
  return logits;
}

Logits ChangeLogits(const SoftmaxLoss& loss, const Row& row) {
  if (loss.has_margin()) return LogitsOfCosines(std::get<SoftmaxMargin>(loss.margin), row);
  Logits logits;
  logits.changed = loss.soft_cap || loss.temperature != 1 || !row.bias.empty();
  const Real temperature = loss.temperature;
  for (size_t k = 0; k < row.x.size(); ++k) {
    const Real value = row.x[k];
    const Real bias = row.bias.empty() ? 0 : row.bias[k];
    Real z = value;
    Real slope = 1;
    Real error = 0;
    if (loss.soft_cap && std::isfinite(value)) {
      const Real cap = *loss.soft_cap;
      const Real cosine = std::cosh(value / cap);
      z = cap * std::tanh(value / cap);
      slope = 1 / (cosine * cosine);
      // e^(-2|x|/cap) is as exact as its argument.
      error = 6 * std::fabs(value / cap) + 8;
      logits.most = std::max(logits.most, std::fabs(z / temperature));
    } else if (loss.soft_cap) {
      slope = 0;
    }
    if (bias == -kInf) {  // masked, whatever the logit is
      logits.z.push_back(-kInf);
      logits.slope.push_back(slope / temperature);
      logits.slope_error.push_back(error + 4);
      continue;
    }
    if (bias != 0) logits.most = std::max(logits.most, 2 * std::fabs(bias));
    logits.z.push_back(z / temperature + bias);
    logits.slope.push_back(slope / temperature);
    logits.slope_error.push_back(logits.changed ? error + 4 : 0);
  }
  return logits;
}

// What one softmax row is made of: s_k = e_k / total.
struct SoftmaxParts {
  Real maximum = -kInf;
  size_t top = 0;       // the first class at the maximum
  std::vector<Real> e;  // exp(x_k - maximum)
  Real total = 0;
  Real log_total = 0;  // without cancellation where the maximum stands alone
  // The bracket of every bound is stretch (|x_k - m| + ln C) + extra + 16: the argument of exp is
  // rounded in proportion to its size, the logarithm of the sum is at most ln C, and the rest is
  // constant. Logits that options change are rounded a few times more, what a soft cap leaves in
  // proportion to itself.
  Real stretch = 1;
  Real extra = 0;

  Real Probability(size_t k) const { return e[k] / total; }
  Real Bracket(Real distance) const {
    return stretch * (distance + std::log(static_cast<Real>(e.size()))) + extra + kRowConstant;
  }
  // s_k times the bracket; 0 for a masked class, whose distance is infinite.
  Real ScaledBracket(Real s, Real distance) const { return s == 0 ? 0 : s * Bracket(distance); }
  // Of what is found without cancellation where y is the maximum, in units of the roundoff: in
  // binary32 rows that are almost certain are looked at in binary64.
  Real relative = 16;
};

SoftmaxParts SoftmaxOf(const Logits& logits, Real u) {
  const std::vector<Real>& x = logits.z;
  SoftmaxParts parts;
  for (size_t k = 0; k < x.size(); ++k) {
    if (x[k] > parts.maximum) {
      parts.maximum = x[k];
      parts.top = k;
    }
  }
  Real others = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    parts.e.push_back(std::exp(x[k] - parts.maximum));
    if (k != parts.top) others += parts.e[k];
  }
  parts.total = 1 + others;
  parts.log_total = std::log1p(others);
  if (logits.changed) {
    parts.stretch = 3;
    parts.extra = 8 * logits.most;
    parts.relative = 64 + 2 * parts.extra;
    const bool in_double = u < UnitRoundoff(DType::kF32);
    if (in_double && others > 0) parts.relative += 6 * std::fmax(0, -std::log(others));
  }
  return parts;
}

// ------------------------------------------------------------------------------- cross entropy

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
    answer.loss_bound += 2 * u * std::fabs(coefficient) * parts.Bracket(distance);
  }
  // Where y is the maximum the loss is log1p(sum of the others), which keeps relative accuracy as
  // long as the exponentials are normal numbers.
  if (row.one_hot() && row.x[row.label] == parts.maximum) {
    const Real relative = parts.relative * u * std::fabs(answer.loss);
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
    const Real s = parts.Probability(k);
    const Real coefficient = row.coefficient(k);
    const bool is_label = k == row.label;
    if (s == 0 && std::isinf(row.x[k]) && coefficient == 0) continue;  // masked: exactly +0
    // 2u (s_k T (|x_k - m| + ln C + 16) + 2 w_k t'_k + [k = y] w (1 - s_y)): the product w_k t'_k
    // is rounded, scaled and subtracted, each once. An exponential below the smallest normal number
    // may have become 0.
    Real bound = target_magnitude * parts.ScaledBracket(s, parts.maximum - row.x[k]);
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
      bound = std::min(bound, 2 * parts.relative * u * std::fabs(answer.slope[k]));
      if (row.classes() == 1) continue;  // no others: exactly 0
    }
    answer.slope_bound[k] = bound + smallest * target_magnitude;
  }
}

// -------------------------------------------------------------------------------- focal modulation

// w (1 - s_y)^gamma times the cross entropy of one label, and its slopes.
void FocalOf(const Row& row, const SoftmaxParts& parts, Real gamma, Real log_floor, Real u,
             Real smallest, RowAnswer& answer) {
  const auto y = static_cast<size_t>(row.label);
  const Real w = row.weights[y];
  const Real distance = parts.maximum - row.x[y];
  const Real minus_log = distance + parts.log_total;
  const Real ceiling = log_floor > 0 ? -std::log(log_floor) : kInf;
  answer.clamped = minus_log > ceiling;
  Real others = 0;
  for (size_t k = 0; k < parts.e.size(); ++k) others += k == y ? 0 : parts.e[k];
  const Real rest = others / parts.total;  // 1 - s_y
  const Real s = parts.Probability(y);
  if (w == 0 || (rest == 0 && gamma > 0)) return;
  const Real power = gamma == 0 ? 1 : std::pow(rest, gamma);
  const Real share = s == 0 ? 0 : rest == 0 ? s : s * minus_log / rest;
  const Real slope = w * power * (1 + gamma * share);
  // Relative errors of 1 - s_y, -log s_y and s_y.
  const bool is_top = row.x[y] == parts.maximum;
  const Real of_rest = is_top ? parts.relative * u : 2 * u * parts.Bracket(s == 0 ? 0 : distance);
  const Real of_log = is_top                  ? parts.relative * u
                      : std::isinf(minus_log) ? 0
                                              : 2 * u * parts.Bracket(distance) / minus_log;
  const Real of_share = s == 0 ? 0 : 2 * u * parts.Bracket(distance) + of_rest + of_log;
  const Real of_power = gamma * of_rest + 16 * (1 + gamma) * UnitRoundoff(DType::kF64);
  // A power below the smallest double may have become 0, and so may what is multiplied by it.
  const Real least = w * (1 + gamma) * smallest;
  answer.loss = w * power * std::min(minus_log, ceiling);
  answer.loss_bound = std::isinf(answer.loss)
                          ? 0
                          : answer.loss * (of_power + of_log) +
                                (rest < 1e-30L ? 16 * least : least * UnitRoundoff(DType::kF64));
  for (size_t k = 0; k < parts.e.size(); ++k) {
    const Real p = parts.Probability(k);
    if (k != y && p == 0 && std::isinf(row.x[k])) continue;
    answer.slope[k] = k == y ? 0 - slope * rest : slope * p;
    const Real own =
        k == y ? rest * of_rest : 2 * u * parts.ScaledBracket(p, parts.maximum - row.x[k]);
    const Real size = k == y ? rest : p;
    answer.slope_bound[k] = slope * (own + size * (of_power + of_share)) + 2 * least;
  }
}

// ------------------------------------------------------------------ what no weight of a class
// scales

// Adds zeta lse^2, whose slope is 2 zeta lse s_k.
void AddSquareOfLogSumExp(const Row& row, const SoftmaxParts& parts, Real zeta, Real u,
                          Real smallest, RowAnswer& answer) {
  if (zeta == 0) return;
  const Real lse = answer.log_sum_exp;
  const Real error = answer.log_sum_exp_bound;
  answer.loss += zeta * lse * lse;
  answer.loss_bound += zeta * (2 * std::fabs(lse) * error + error * error) +
                       4 * UnitRoundoff(DType::kF64) * zeta * lse * lse;
  for (int64_t k = 0; k < row.classes(); ++k) {
    const Real s = parts.Probability(k);
    if (s == 0 && std::isinf(row.x[k])) continue;
    const Real own = 2 * u * parts.ScaledBracket(s, parts.maximum - row.x[k]) + smallest;
    answer.slope[k] += 2 * zeta * lse * s;
    answer.slope_bound[k] += 2 * zeta * (std::fabs(lse) * own + error * s);
  }
}

// Subtracts eta H with H = -sum_k s_k log s_k; the slope of H is -s_k (z_k - zbar).
void SubtractEntropy(const Row& row, const SoftmaxParts& parts, Real eta, Real u, Real smallest,
                     RowAnswer& answer) {
  Real entropy = 0;
  Real mean = 0;   // of the distance from the maximum
  Real error = 0;  // of both
  for (size_t k = 0; k < parts.e.size(); ++k) {
    const Real s = parts.Probability(k);
    if (s == 0) continue;
    const Real distance = parts.maximum - row.x[k];
    mean += s * distance;
    entropy += s * (distance + parts.log_total);
    const Real size = distance + parts.log_total + (k == parts.top ? 0 : 1);
    error += 2 * u * s * size * parts.Bracket(distance) + smallest * (1 + distance);
  }
  answer.entropy = entropy;
  answer.entropy_bound = error;
  if (eta == 0) return;
  answer.loss -= eta * entropy;
  answer.loss_bound += eta * error;
  for (size_t k = 0; k < parts.e.size(); ++k) {
    const Real s = parts.Probability(k);
    if (s == 0) continue;
    const Real distance = parts.maximum - row.x[k];
    answer.slope[k] += eta * s * (mean - distance);
    answer.slope_bound[k] += eta * (2 * u * s * (distance + mean + 1) * parts.Bracket(distance) +
                                    s * error + smallest * (1 + distance + mean));
  }
}

}  // namespace

std::vector<Real> ChangedLogits(const Loss& loss, const Row& row) {
  const auto* softmax = std::get_if<SoftmaxLoss>(&loss);
  // The order is that of the cosines, before the margin.
  return softmax == nullptr || softmax->has_margin() ? row.x : ChangeLogits(*softmax, row).z;
}

void SoftmaxRow(const SoftmaxLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer) {
  const Logits logits = ChangeLogits(loss, row);
  const bool all_masked =
      std::all_of(logits.z.begin(), logits.z.end(), [](Real z) { return z == -kInf; });
  bool poisoned = false;
  for (size_t k = 0; k < row.x.size(); ++k) {
    poisoned |= logits.z[k] != -kInf && (Poisonous(row.x[k]) || std::isnan(logits.z[k]));
  }
  answer.clamped = loss.has_margin() && std::fabs(row.x[row.label]) > 1;
  if (all_masked || poisoned) {
    answer.nonfinite = true;
    answer.loss = kNan;
    answer.log_sum_exp = kNan;
    answer.entropy = kNan;
    FillNan(answer.slope);
    answer.probabilities = answer.slope;
    answer.probabilities_bound = answer.slope_bound;
    answer.log_probabilities = answer.slope;
    answer.log_probabilities_bound = answer.slope_bound;
    return;
  }
  Row changed = row;
  changed.x = logits.z;
  const SoftmaxParts parts = SoftmaxOf(logits, u);
  if (loss.focal_gamma) {
    FocalOf(changed, parts, *loss.focal_gamma, loss.log_floor, u, smallest, answer);
  } else {
    SoftmaxLossOf(changed, parts, loss.log_floor, u, smallest, answer);
    SoftmaxSlopeOf(changed, parts, u, smallest, answer);
  }
  answer.log_sum_exp = parts.maximum + parts.log_total;
  // The logarithm as in the loss, then one addition in f64.
  answer.log_sum_exp_bound =
      2 * u * parts.Bracket(0) + UnitRoundoff(DType::kF64) * std::fabs(answer.log_sum_exp);
  AddSquareOfLogSumExp(changed, parts, loss.lse_square_scale, u, smallest, answer);
  SubtractEntropy(changed, parts, loss.entropy_bonus, u, smallest, answer);

  for (size_t k = 0; k < row.x.size(); ++k) {
    const Real s = parts.Probability(k);
    answer.probabilities.push_back(s);
    const bool exact = std::isinf(changed.x[k]);
    const Real distance = parts.maximum - changed.x[k];
    answer.log_probabilities.push_back(-(distance + parts.log_total));
    const Real bound = distance == 0 ? parts.relative * u * parts.log_total + smallest
                                     : 2 * u * parts.Bracket(distance);
    answer.log_probabilities_bound.push_back(exact ? 0 : bound);
    answer.probabilities_bound.push_back(
        exact ? 0 : 2 * u * parts.ScaledBracket(s, parts.maximum - changed.x[k]) + smallest);
    if (!logits.changed) continue;
    const Real error = logits.slope_error[k] * u * std::fabs(answer.slope[k]);
    answer.slope_bound[k] = (answer.slope_bound[k] + error) * logits.slope[k];
    answer.slope[k] *= logits.slope[k];
    if (answer.slope[k] != 0) answer.slope_bound[k] += smallest / loss.temperature;
  }
}

}  // namespace lossd::oracle
