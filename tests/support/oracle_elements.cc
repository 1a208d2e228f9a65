#include "tests/support/oracle_elements.h"

#include <algorithm>
#include <limits>
#include <variant>

namespace lossd::oracle {
namespace {

constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();
constexpr Real kInf = std::numeric_limits<Real>::infinity();
const Real kTwoPi = 2 * std::acos(Real(-1));

// 1 / (1 + e^-z), log(1 + e^z): the side on which nothing overflows.
Real Logistic(Real z) { return z < 0 ? std::exp(z) / (1 + std::exp(z)) : 1 / (1 + std::exp(-z)); }
Real Softplus(Real z) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }
Real Bell(Real z) { return Logistic(z) * Logistic(-z); }

Real SignOf(Real d) { return std::isnan(d) ? d : d > 0 ? 1 : d < 0 ? -1 : 0; }

Sized Of(Real value) { return {value, std::fabs(value)}; }

// A target as a number in [0, 1], or as -1 or 1.
Real ZeroToOne(Real t, BinaryTargets targets) {
  return targets == BinaryTargets::kSigned ? (1 + t) / 2 : t;
}
Real MinusOneOrOne(Real t, BinaryTargets targets) {
  return targets == BinaryTargets::kSigned ? t : 2 * t - 1;
}

// The sum of the coefficients times powers of h from h^2 on, for a series that is cut off where its
// terms no longer count: |h| <= 1/4.
template <class Coefficient>
Real Series(Real h, Coefficient coefficient) {
  Real sum = 0;
  for (int n = 40; n >= 2; --n) sum = sum * h + coefficient(n);
  return sum * h * h;
}

// h - log(1 + h).
Real MinusLog1p(Real h) {
  if (std::fabs(h) > 0.25L) return h - std::log1p(h);
  return Series(h, [](int n) { return Real(n % 2 == 0 ? 1 : -1) / n; });
}

// e^d - 1 - d.
Real ExpMinusLine(Real d) {
  if (std::fabs(d) > 0.25L) return std::expm1(d) - d;
  return Series(d, [](int n) { return 1 / std::tgamma(Real(n + 1)); });
}

}  // namespace

ElementValue ValueOf(const BinaryCrossEntropyLoss& loss, const Element& e) {
  const Real plain = ZeroToOne(e.t, loss.targets);
  const Real c = e.pos_weight * ((1 - e.smoothing) * plain + e.smoothing / 2);
  const Real rest = (1 - e.smoothing) * (1 - plain) + e.smoothing / 2;
  ElementValue out;
  if (loss.input == BinaryInput::kLogits) {
    out.loss.Add(c, Softplus(-e.x)).Add(rest, Softplus(e.x));
    out.slope.Add(-c, Logistic(-e.x)).Add(rest, Logistic(e.x));
    return out;
  }
  const Real epsilon = loss.log_epsilon;
  const Real x = e.x < 0 ? 0 : e.x > 1 ? 1 : e.x;
  out.clamped = x != e.x || (c != 0 && x < epsilon) || (rest != 0 && 1 - x < epsilon);
  if (std::isnan(e.x)) out.clamped = false;
  out.loss.Add(-c, x < epsilon ? std::log(epsilon) : std::log(x));
  out.loss.Add(-rest, 1 - x < epsilon ? std::log(epsilon) : std::log1p(-x));
  out.slope.Add(-c, 1 / (x < epsilon ? epsilon : x));
  out.slope.Add(rest, 1 / (1 - x < epsilon ? epsilon : 1 - x));
  return out;
}

ElementValue ValueOf(const SigmoidFocalLoss& loss, const Element& e) {
  const Real t = ZeroToOne(e.t, loss.targets);
  const Real gamma = loss.gamma;
  Sized entropy;
  entropy.Add(t, Softplus(-e.x)).Add(1 - t, Softplus(e.x));
  Sized u;
  u.Add(1 - t, Logistic(e.x)).Add(t, Logistic(-e.x));
  const Real alpha = loss.alpha.value_or(1);
  const Real share = loss.alpha ? alpha * t + (1 - alpha) * (1 - t) : 1;
  const Real weight = share * std::pow(u.value, gamma);
  Sized slope;
  slope.Add(1 - t, Logistic(e.x)).Add(-t, Logistic(-e.x));
  slope.Add(gamma * (1 - 2 * t) * (u.value == 0 ? 1 : entropy.value / u.value), Bell(e.x));
  ElementValue out;
  out.loss.Add(weight, entropy.value);
  out.slope.Add(weight, slope.value);
  out.slope.size = weight == 0 ? 0 : weight * slope.size;
  // The fraction of gamma goes through a logarithm of u.
  const Real through_log = 1 + gamma * (u.value > 0 ? std::fabs(std::log(u.value)) : 0);
  out.loss.size *= through_log;
  out.slope.size *= through_log;
  return out;
}

ElementValue ValueOf(const HingeLoss& loss, const Element& e) {
  const Real y = MinusOneOrOne(e.t, loss.targets);
  const Real v = loss.margin - y * e.x;
  ElementValue out;
  if (v <= 0) return out;
  const Real terms = loss.margin + std::fabs(y * e.x);
  const bool squared = loss.power == 2;
  out.loss = {squared ? v * v : v, squared ? 2 * v * terms : terms};
  out.slope = squared ? Sized{-2 * y * v, 2 * terms} : Of(std::isnan(v) ? v : -y);
  return out;
}

ElementValue ValueOf(const SquaredErrorLoss&, const Element& e) {
  const Real d = e.x - e.t;
  return {Of(d * d), Of(2 * d), {}};
}

ElementValue ValueOf(const AbsoluteErrorLoss&, const Element& e) {
  const Real d = e.x - e.t;
  return {Of(std::fabs(d)), Of(SignOf(d)), {}};
}

ElementValue ValueOf(const SmoothL1Loss& loss, const Element& e) {
  const Real d = e.x - e.t;
  const Real beta = loss.beta;
  if (std::fabs(d) < beta) return {Of(d * d / (2 * beta)), Of(d / beta), {}};
  return {{std::fabs(d) - beta / 2, std::fabs(d) + beta / 2}, Of(SignOf(d)), {}};
}

ElementValue ValueOf(const HuberLoss& loss, const Element& e) {
  const Real d = e.x - e.t;
  const Real delta = loss.delta;
  if (std::fabs(d) <= delta) return {Of(d * d / 2), Of(d), {}};
  const Real size = delta * (std::fabs(d) + delta / 2);
  return {{delta * (std::fabs(d) - delta / 2), size}, Of(delta * SignOf(d)), {}};
}

ElementValue ValueOf(const LogCoshLoss&, const Element& e) {
  const Real d = std::fabs(e.x - e.t);
  ElementValue out;
  out.slope = Of(std::tanh(e.x - e.t));
  // cosh d - 1 from its series where d is small.
  if (d < 0.25L) {
    out.loss = Of(
        std::log1p(Series(d, [](int n) { return n % 2 == 0 ? 1 / std::tgamma(Real(n + 1)) : 0; })));
  } else {
    out.loss = Of(d < 100 ? std::log(std::cosh(d)) : d - std::log(Real(2)));
  }
  return out;
}

ElementValue ValueOf(const QuantileLoss& loss, const Element& e) {
  const Real tau = loss.quantiles.empty() ? 0.5 : loss.quantiles.front();
  const Real d = e.x - e.t;
  if (d < 0) return {Of(-tau * d), Of(-tau), {}};
  return {Of((1 - tau) * d), Of(std::isnan(d) ? d : d == 0 ? 0 : 1 - tau), {}};
}

ElementValue ValueOf(const PoissonNllLoss& loss, const Element& e) {
  ElementValue out;
  if (loss.log_input) {
    out.loss.Add(1, std::exp(e.x)).Add(-e.t, e.x);
    out.slope.Add(1, std::exp(e.x)).Add(-1, e.t);
  } else {
    const Real rate = e.x + loss.epsilon;
    const Real positive = rate <= 0 ? kNan : rate;
    out.loss.Add(1, e.x).Add(-e.t, std::log(positive)).Rounded(e.t);
    out.slope.Add(1, 1).Add(-e.t, 1 / positive);
  }
  if (loss.full && !(e.t <= 1)) {
    out.loss.Add(e.t, std::log(e.t)).Add(-1, e.t).Add(0.5L, std::log(kTwoPi * e.t));
  }
  return out;
}

ElementValue ValueOf(const GaussianNllLoss& loss, const Element& e) {
  const Real d = e.x - e.t;
  ElementValue out;
  Real v = loss.spread == Spread::kVariance      ? e.second
           : loss.spread == Spread::kLogVariance ? std::exp(e.second)
                                                 : e.second * e.second;
  if (loss.spread != Spread::kLogVariance && v < loss.epsilon) {
    v = loss.epsilon;
    out.clamped = true;
  }
  out.loss.Add(0.5L, loss.spread == Spread::kLogVariance ? e.second : std::log(v));
  out.loss.Add(d / 2, d == 0 ? 0 : d / v).Rounded(1);
  if (loss.full) out.loss.Add(0.5L, std::log(kTwoPi));
  out.slope.Add(d, 1 / v);
  if (loss.spread == Spread::kVariance) {
    out.second.Add(0.5L, 1 / v).Add(-0.5L, d / v * (d / v));
  } else if (loss.spread == Spread::kLogVariance) {
    out.second.Add(0.5L, 1).Add(-d / 2, d == 0 ? 0 : d / v);
  } else {
    const Real sigma = std::copysign(std::sqrt(v), e.second);
    out.second.Add(1, 1 / sigma).Add(-1, d / v * d / sigma);
  }
  return out;
}

ElementValue ValueOf(const GaussianKlLoss& loss, const Element& e) {
  ElementValue out;
  out.loss.Add(0.5L, e.x * e.x);
  out.slope.Add(1, e.x);
  const Real s = e.second;
  if (loss.spread == Spread::kLogVariance) {
    out.loss.Add(0.5L, ExpMinusLine(s)).Rounded(std::fabs(s) > 0.25L ? s : 0);
    out.second.Add(0.5L, std::expm1(s));
    return out;
  }
  const Real h = s <= 0 ? kNan : s - 1;
  const bool far = std::fabs(h) > 0.1L;
  if (loss.spread == Spread::kVariance) {
    out.loss.Add(0.5L, MinusLog1p(h)).Rounded(far ? std::fabs(h) + std::fabs(std::log(s)) : 0);
    out.second.Add(0.5L, h / s);
  } else {
    out.loss.Add(0.5L, h * h).Add(1, MinusLog1p(h));
    out.loss.Rounded(far ? std::fabs(h) + std::fabs(std::log(s)) : 0);
    out.second.Add(1, h * (s + 1) / s);
  }
  return out;
}

ElementValue ValueOf(const MarginRankingLoss& loss, const Element& e) {
  const Real difference = e.x - e.second;
  const Real v = loss.margin - e.t * difference;
  ElementValue out;
  if (v <= 0) return out;
  out.loss = {v, std::fabs(loss.margin) + std::fabs(difference)};
  out.slope = Of(std::isnan(v) ? v : -e.t);
  out.second = Of(std::isnan(v) ? v : e.t);
  return out;
}

ElementValue ValueOf(const PairwiseLogisticLoss& loss, const Element& e) {
  const Real z = e.x - e.second - loss.margin;
  const Real rounded = std::fabs(e.x - e.second) + std::fabs(z);
  const Real slope = Logistic(-z);
  ElementValue out;
  out.loss.Add(1, Softplus(-z)).Rounded(rounded * slope);
  out.slope.Add(-1, slope).Rounded(rounded * slope);
  out.second.Add(1, slope).Rounded(rounded * slope);
  return out;
}

namespace {

// Of pairs: l by its derivatives in a and b, where what a and b are made of was rounded.
struct Pair {
  Real a;
  Real b;
  Real rounded;  // the sizes that were

  ElementValue Answer(Sized loss, Sized by_a, Sized by_b, Real beta) const {
    loss.Rounded(rounded * (std::fabs(by_a.value) + std::fabs(by_b.value)));
    by_a.Rounded(beta * rounded * by_a.size);
    by_b.Rounded(beta * rounded * by_b.size);
    return {loss, by_a, by_b};
  }
};

Sized Times(Real c, Sized sum) { return {c * sum.value, std::fabs(c) * sum.size}; }

ElementValue Orpo(Real beta, Real w, Real l) {
  const Real not_w = -std::expm1(w);
  const Real not_l = -std::expm1(l);
  const Real odds = (w - l) - (std::log(not_w) - std::log(not_l));
  const Real ratio = std::exp(w - l) * not_l;
  ElementValue out;
  const Real arguments = std::fabs(w) + std::fabs(l) + std::fabs(std::log(not_w)) +
                         std::fabs(std::log(not_l)) + std::fabs(odds);
  out.loss.Add(beta, Softplus(-odds)).Rounded(beta * arguments * Logistic(-odds));
  out.slope.Add(-beta, 1 / (ratio + not_w)).Rounded(beta * std::fabs(w - l) / (ratio + not_w));
  const Real second = not_w / not_l / (ratio + not_w);
  out.second.Add(beta, second).Rounded(beta * std::fabs(w - l) * second);
  return out;
}

}  // namespace

ElementValue ValueOf(const PreferenceLoss& loss, const Element& e) {
  using Variant = PreferenceVariant;
  const Real beta = loss.beta;
  if (loss.variant == Variant::kOrpo) return Orpo(beta, e.x, e.second);
  const Pair pair = {
      e.x - e.reference, e.second - e.second_reference,
      std::fabs(e.x - e.reference) + std::fabs(e.second - e.second_reference) + 1 / beta};
  const Real a = pair.a;
  const Real b = pair.b;
  const Real u = beta * (a - b);
  const Real smoothing = loss.label_smoothing;
  Sized l;
  Sized da;
  Sized db;
  const auto of_margin = [&](Sized value, Sized slope) {
    return pair.Answer(value, slope, Times(-1, slope), beta);
  };
  switch (loss.variant) {
    case Variant::kSigmoid:
      l.Add(1 - smoothing, Softplus(-u)).Add(smoothing, Softplus(u));
      da.Add(smoothing, Logistic(u)).Add(smoothing - 1, Logistic(-u));
      return of_margin(l, Times(beta, da));
    case Variant::kRobust:
      l.Add(1 - smoothing, Softplus(-u)).Add(-smoothing, Softplus(u));
      da.Add(-smoothing, Logistic(u)).Add(smoothing - 1, Logistic(-u));
      return of_margin(Times(1 / (1 - 2 * smoothing), l), Times(beta / (1 - 2 * smoothing), da));
    case Variant::kIpo: {
      const Real d = a - b - 1 / (2 * beta);
      const Real terms = std::fabs(a) + std::fabs(b) + 1 / (2 * beta);
      return {{d * d, terms * terms}, {2 * d, 2 * terms}, {-2 * d, 2 * terms}};
    }
    case Variant::kHinge:
      if (1 - u <= 0) return {};
      l.Add(1, 1).Add(-beta, a - b);
      da.Add(std::isnan(u) ? u : -beta, 1);
      return of_margin(l, da);
    case Variant::kSppoHard: {
      const Real c = a - 1 / (2 * beta);
      const Real d = b + 1 / (2 * beta);
      const Real at = std::fabs(a) + 1 / (2 * beta);
      const Real bt = std::fabs(b) + 1 / (2 * beta);
      return {{c * c + d * d, at * at + bt * bt}, {2 * c, 2 * at}, {2 * d, 2 * bt}};
    }
    case Variant::kApoZero:
      l.Add(1, Logistic(-beta * a)).Add(1, Logistic(beta * b));
      return pair.Answer(l, da.Add(-beta, Bell(beta * a)), db.Add(beta, Bell(beta * b)), beta);
    case Variant::kApoDown:
      l.Add(1, Logistic(beta * a)).Add(1, Logistic(-u));
      da.Add(beta, Bell(beta * a)).Add(-beta, Bell(u));
      return pair.Answer(l, da, db.Add(beta, Bell(u)), beta);
    case Variant::kBcoPair:
      l.Add(1, Softplus(-beta * a)).Add(1, Softplus(beta * b));
      da.Add(-beta, Logistic(-beta * a));
      return pair.Answer(l, da, db.Add(beta, Logistic(beta * b)), beta);
    case Variant::kNcaPair:
      l.Add(1, Softplus(-beta * a)).Add(0.5L, Softplus(beta * a)).Add(0.5L, Softplus(beta * b));
      da.Add(-beta, Logistic(-beta * a)).Add(beta / 2, Logistic(beta * a));
      return pair.Answer(l, da, db.Add(beta / 2, Logistic(beta * b)), beta);
    case Variant::kCpo:
      return of_margin(l.Add(1, Softplus(-u)), da.Add(-beta, Logistic(-u)));
    case Variant::kSimpo: {
      const Real gamma = loss.gamma.value_or(0.5);
      l.Add(1, Softplus(gamma - u)).Rounded(gamma);
      return of_margin(l, da.Add(-beta, Logistic(gamma - u)).Rounded(gamma * beta));
    }
    case Variant::kOrpo:
      break;
  }
  return {};
}

ElementValue ValueOf(const KtoLoss& loss, const Element& e) {
  const Real beta = loss.beta;
  const Real margin = e.x - e.reference - loss.reference_kl;
  const Real rounded = beta * (std::fabs(e.x - e.reference) + std::fabs(margin));
  const bool wanted = e.t == 1;
  const Real weight = wanted ? loss.desirable_weight : loss.undesirable_weight;
  const Real bell = Bell(beta * margin);
  ElementValue out;
  out.loss.Add(weight, Logistic((wanted ? -beta : beta) * margin));
  out.slope.Add(weight * (wanted ? -beta : beta), bell);
  if (weight == 0) return out;
  out.loss.Rounded(weight * rounded * bell);
  out.slope.Rounded(rounded * out.slope.value);
  return out;
}

ElementValue ValueOf(const ValueLoss& loss, const Element& e) {
  const Real d = e.x - e.t;
  if (!loss.value_clip) return {Of(d * d / 2), Of(d), {}};
  const Real clip = *loss.value_clip;
  const Real moved = e.x - e.old_value;
  const Real v = e.old_value + (moved < -clip ? -clip : moved > clip ? clip : moved);
  ElementValue out;
  const Real error = v - e.t;
  if (std::fabs(d) >= std::fabs(error) || std::isnan(d)) return {Of(d * d / 2), Of(d), {}};
  const Real sizes = std::fabs(e.old_value) + std::fabs(moved) + std::fabs(e.t) + std::fabs(error);
  out.loss = {error * error / 2, std::fabs(error) * sizes};
  if (std::isnan(error)) out.slope = Of(kNan);
  if (std::fabs(moved) <= clip) out.slope = Of(d);
  return out;
}

namespace {

// The objective at one token with log-probability lp and ratio r.
struct Token {
  Real lp;
  Real a;
  Real r;
  Real moved;  // lp - old
};

ElementValue Objective(const ImportanceSampling&, const Token& t) {
  ElementValue out;
  out.loss.Add(-t.a, t.r);
  out.slope = out.loss;
  return out;
}

ElementValue Objective(const PpoObjective& of, const Token& t) {
  const Real cap = of.ratio_cap ? Real(*of.ratio_cap) : kInf;
  ElementValue out;
  if (t.a > 0) {
    out.loss.Add(-t.a, t.r > of.ratio_high ? Real(of.ratio_high) : t.r);
    out.slope.Add(-t.a, t.r > of.ratio_high ? 0 : t.r);
  } else {
    const Real low = t.r < of.ratio_low ? Real(of.ratio_low) : t.r;
    out.loss.Add(-t.a, low > cap ? cap : low);
    out.slope.Add(-t.a, t.r < of.ratio_low || t.r > cap ? 0 : t.r);
  }
  return out;
}

ElementValue Objective(const CispoObjective& of, const Token& t) {
  const Real clamped = t.r < of.ratio_low    ? Real(of.ratio_low)
                       : t.r > of.ratio_high ? Real(of.ratio_high)
                                             : t.r;
  const Real c = t.a == 0 ? 0 : clamped * t.a;
  ElementValue out;
  out.loss.Add(-c, t.lp);
  out.slope.Add(-1, c);
  return out;
}

ElementValue Objective(const DroObjective& of, const Token& t) {
  const Real beta = of.beta.value_or(0);
  ElementValue out;
  out.loss.Add(-t.a, t.lp).Add(beta / 2, t.moved * t.moved);
  out.slope.Add(-1, t.a).Add(beta, t.moved);
  return out;
}

ElementValue Objective(const SapoObjective& of, const Token& t) {
  const Real tau = t.a > 0 ? of.tau_positive : of.tau_negative;
  const Real z = tau * (t.r - 1);
  ElementValue out;
  out.loss.Add(-4 / tau * t.a, Logistic(z));
  out.slope.Add(-4 * t.a, Bell(z) == 0 ? 0 : Bell(z) * t.r);
  // 1 and the ratio were subtracted.
  const Real argument = std::isfinite(t.r) ? tau * (t.r + 1) : 0;
  out.loss.Rounded(argument * 4 / tau * t.a * Bell(z));
  out.slope.Rounded(argument * out.slope.value);
  return out;
}

ElementValue Objective(std::monostate, const Token&) { return {}; }

void AddDivergence(KlEstimator estimator, Real beta, Real d, Real r, ElementValue& out) {
  const Real k3 = ExpMinusLine(-d);
  const Real far = std::fabs(d) > 0.25L ? std::fabs(d) : 0;
  switch (estimator) {
    case KlEstimator::kK1:
      out.loss.Add(beta, d);
      out.slope.Add(beta, std::isnan(d) ? d : 1);
      return;
    case KlEstimator::kK2:
      out.loss.Add(beta, d * d / 2);
      out.slope.Add(beta, d);
      return;
    case KlEstimator::kK3:
      out.loss.Add(beta, k3).Rounded(beta * (far + std::exp(-d)));
      out.slope.Add(-beta, std::expm1(-d)).Rounded(beta * (1 + std::fabs(d)) * std::exp(-d));
      return;
    case KlEstimator::kK3Corrected:
      out.loss.Add(beta * r, k3).Rounded(beta * r * (far + std::exp(-d)));
      out.slope.Add(beta * r, d);
      return;
    case KlEstimator::kK3ValueK2Gradient:
      out.loss.Add(beta, k3).Rounded(beta * (far + std::exp(-d)));
      out.slope.Add(beta, d);
      return;
  }
}

}  // namespace

ElementValue ValueOf(const PolicyLoss& loss, const Element& e) {
  const Real moved = e.has_old ? e.x - e.old : 0;
  const Token token = {e.x, e.advantage, std::exp(moved), moved};
  ElementValue out =
      std::visit([&token](const auto& of) { return Objective(of, token); }, loss.objective);
  const Real d = e.x - e.reference;
  if (loss.kl_coefficient != 0) {
    AddDivergence(loss.kl_estimator, loss.kl_coefficient, d, token.r, out);
  }
  // The exponents of the ratio and of the estimators are rounded differences.
  const Real factor = 1 + (std::isfinite(moved) ? std::fabs(moved) : 0) +
                      (loss.kl_coefficient != 0 && std::isfinite(d) ? std::fabs(d) : 0);
  out.loss.size *= factor;
  out.slope.size *= factor;
  return out;
}

}  // namespace lossd::oracle
