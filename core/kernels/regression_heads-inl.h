// Heads of regression losses and densities. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_REGRESSION_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_REGRESSION_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_REGRESSION_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_REGRESSION_HEADS_INL_H_
#endif

#include <cmath>
#include <string_view>

#include "core/kernels/element_head-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

constexpr double kHalfLogTwoPi = 0.91893853320467274178;

struct SquaredError : ElementHead {
  static constexpr std::string_view kName = "squared_error";

  HWY_INLINE explicit SquaredError(const double* /*options*/) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    return {d * d, d + d, Nothing(), Nothing()};
  }
};

struct AbsoluteError : ElementHead {
  static constexpr std::string_view kName = "absolute_error";

  HWY_INLINE explicit AbsoluteError(const double* /*options*/) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    return {Abs(d), Sign(d), Nothing(), Nothing()};
  }
};

struct SmoothL1 : ElementHead {
  static constexpr std::string_view kName = "smooth_l1";

  HWY_INLINE explicit SmoothL1(const double* options) : beta(options[0]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    const Lanes size = Abs(d);
    const LaneMask small = size < beta;
    const Lanes share = d / Same(beta);
    return {Select(small, 0.5 * (d * share), size - 0.5 * beta), Select(small, share, Sign(d)),
            Nothing(), Nothing()};
  }

  double beta;
};

struct Huber : ElementHead {
  static constexpr std::string_view kName = "huber";

  HWY_INLINE explicit Huber(const double* options) : delta(options[0]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    const Lanes size = Abs(d);
    return {Select(size <= delta, 0.5 * (d * d), delta * (size - 0.5 * delta)),
            Clamp(d, -delta, delta), Nothing(), Nothing()};
  }

  double delta;
};

struct LogCosh : ElementHead {
  static constexpr std::string_view kName = "log_cosh";

  HWY_INLINE explicit LogCosh(const double* /*options*/) {}

  // log cosh d = log1p(2 sinh(d / 2)^2), of which large d would overflow; tanh from e^(-2 |d|) - 1.
  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    constexpr double kLogTwo = 0.69314718055994530942;
    const Lanes d = in.x - in.t;
    const Lanes size = Abs(d);
    const Lanes e = Expm1(0.5 * AtMost(size, 1));
    const Lanes sinh = 0.5 * (e + e / (e + 1.0));
    const Lanes less = Expm1(-2 * size);
    const Lanes large = size + Log1p(Exp(-2 * size)) - kLogTwo;
    return {Select(size <= 1.0, Log1p(2 * (sinh * sinh)), large), Sign(d) * (-less / (less + 2.0)),
            Nothing(), Nothing()};
  }
};

struct Quantile : ElementHead {
  static constexpr std::string_view kName = "quantile";

  HWY_INLINE explicit Quantile(const double* options)
      : tau(std::isnan(options[0]) ? 0.5 : options[0]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    const LaneMask below = d < 0.0;
    const Lanes slope = Select(below, -tau, Select(d == 0.0, 0.0, 1 - tau));
    return {Select(below, tau * -d, (1 - tau) * d), Select(IsNan(d), d, slope), Nothing(),
            Nothing()};
  }

  double tau;
};

struct PoissonNll : ElementHead {
  static constexpr std::string_view kName = "poisson_nll";

  HWY_INLINE explicit PoissonNll(const double* options)
      : log_input(options[0] != 0), full(options[1] != 0), epsilon(options[2]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    ElementAnswer out = log_input ? OfLogarithms(in.x, in.t) : OfRates(in.x, in.t);
    if (full) {
      constexpr double kLogTwoPi = 2 * kHalfLogTwoPi;
      const Lanes log_t = Log(AtLeast(in.t, 1));
      const Lanes stirling = in.t * log_t - in.t + 0.5 * (log_t + kLogTwoPi);
      out.loss = out.loss + Select(in.t <= 1.0, 0.0, stirling);
    }
    return out;
  }

  HWY_INLINE ElementAnswer OfLogarithms(Lanes x, Lanes t) const {
    const Lanes rate = Exp(x);
    return {rate - Term(t, x), rate - t, Nothing(), Nothing()};
  }
  HWY_INLINE ElementAnswer OfRates(Lanes x, Lanes t) const {
    const Lanes y = x + epsilon;
    const Lanes positive = Select(y <= 0.0, std::nan(""), y);
    return {x - Term(t, Log(positive)), 1 - Term(t, 1 / positive), Nothing(), Nothing()};
  }

  bool log_input;
  bool full;
  double epsilon;
};

// What the second predictions say of a spread.
enum class Spread : int8_t { kVariance = 1, kLogVariance = 2, kStandardDeviation = 3 };

struct GaussianNll : ElementHead {
  static constexpr std::string_view kName = "gaussian_nll";
  static constexpr bool kSecond = true;
  static constexpr bool kEvents = true;

  HWY_INLINE explicit GaussianNll(const double* options)
      : spread(static_cast<Spread>(options[0])), epsilon(options[1]), full(options[2] != 0) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    ElementAnswer out = spread == Spread::kVariance      ? OfVariance(d, in.second)
                        : spread == Spread::kLogVariance ? OfLogVariance(d, in.second)
                                                         : OfDeviation(d, in.second);
    if (full) out.loss = out.loss + kHalfLogTwoPi;
    return out;
  }

  HWY_INLINE ElementAnswer OfVariance(Lanes d, Lanes second) const {
    const Lanes v = AtLeast(second, epsilon);
    const Lanes share = d / v;
    return {0.5 * (Log(v) + share * d), share, 0.5 * (1 / v - share * share),
            Event(second < epsilon, ElementEvent::kClamped)};
  }
  HWY_INLINE ElementAnswer OfLogVariance(Lanes d, Lanes s) const {
    const Lanes precision = Exp(-s);
    const Lanes share = Term(d, precision);
    return {0.5 * (s + Term(d, share)), share, 0.5 * (1 - Term(d, share)), Nothing()};
  }
  HWY_INLINE ElementAnswer OfDeviation(Lanes d, Lanes second) const {
    const double least = std::sqrt(epsilon);
    const LaneMask clamped = Abs(second) < least;
    const Lanes floor = {hn::CopySign(Same(least).v, second.v)};
    const Lanes sigma = Select(clamped, floor, second);
    const Lanes share = d / sigma;
    return {Log(Abs(sigma)) + 0.5 * (share * share), share / sigma, (1 - share * share) / sigma,
            Event(clamped, ElementEvent::kClamped)};
  }

  Spread spread;
  double epsilon;
  bool full;
};

// s - 1 - log(s), without cancellation near 1: a series in h = s - 1 there.
HWY_INLINE Lanes MinusLog(Lanes s, Lanes h) {
  Lanes sum = Same(0);
  for (int n = 18; n >= 2; --n) sum = Same((n % 2 == 0 ? 1.0 : -1.0) / n) + h * sum;
  return Select(Abs(h) < 0.1, h * h * sum, h - Log(s));
}

struct GaussianKl : ElementHead {
  static constexpr std::string_view kName = "gaussian_kl";
  static constexpr bool kTargets = false;
  static constexpr bool kSecond = true;

  HWY_INLINE explicit GaussianKl(const double* options) : spread(static_cast<Spread>(options[0])) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes square = in.x * in.x;
    const Lanes s = in.second;
    if (spread == Spread::kLogVariance) {
      return {0.5 * (square + ExpMinusLine(s)), in.x, 0.5 * Expm1(s), Nothing()};
    }
    // A spread of 0 or below is that of no distribution.
    const Lanes positive = Select(s <= 0.0, std::nan(""), s);
    const Lanes h = positive - 1.0;
    const Lanes bracket = MinusLog(positive, h);
    if (spread == Spread::kVariance) {
      return {0.5 * (square + bracket), in.x, 0.5 * (h / s), Nothing()};
    }
    return {0.5 * (square + h * h) + bracket, in.x, h * (s + 1.0) / s, Nothing()};
  }

  Spread spread;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
