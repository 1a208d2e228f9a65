// Heads of losses over pairs and of preference, and that of a critic. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_PREFERENCE_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_PREFERENCE_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_PREFERENCE_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_PREFERENCE_HEADS_INL_H_
#endif

#include <cmath>
#include <string_view>

#include "core/kernels/element_head-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// max(0, margin - y (x - second)).
struct MarginRanking : ElementHead {
  static constexpr std::string_view kName = "margin_ranking";
  static constexpr bool kSecond = true;
  static constexpr bool kEvents = true;

  HWY_INLINE explicit MarginRanking(const double* options) : margin(options[0]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes v = AtLeast(margin - in.t * (in.x - in.second), 0);
    const Lanes slope = Select(v <= 0.0, 0.0, Select(IsNan(v), v, -in.t));
    return {v, slope, -slope, RefuseUnlessSigned(in.t)};
  }

  double margin;
};

struct PairwiseLogistic : ElementHead {
  static constexpr std::string_view kName = "pairwise_logistic";
  static constexpr bool kTargets = false;
  static constexpr bool kSecond = true;

  HWY_INLINE explicit PairwiseLogistic(const double* options) : margin(options[0]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Logistic s = LogisticOf(in.x - in.second - margin);
    return {s.softplus_of_minus, -s.of_minus, s.of_minus, Nothing()};
  }

  double margin;
};

struct Preference : ElementHead {
  static constexpr std::string_view kName = "preference";
  static constexpr bool kTargets = false;
  static constexpr bool kSecond = true;
  static constexpr int kExtras = 2;  // the reference's log-probabilities, of both

  // In the order of the words of the option.
  enum class Variant : int8_t {
    kSigmoid = 1,
    kRobust,
    kIpo,
    kHinge,
    kSppoHard,
    kApoZero,
    kApoDown,
    kBcoPair,
    kNcaPair,
    kCpo,
    kSimpo,
    kOrpo,
  };

  HWY_INLINE explicit Preference(const double* options)
      : variant(static_cast<Variant>(options[0])),
        beta(options[1]),
        smoothing(options[2]),
        gamma(std::isnan(options[3]) ? 0.5 : options[3]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes a = in.x - in.extra[0];
    const Lanes b = in.second - in.extra[1];
    switch (variant) {
      case Variant::kSigmoid:
      case Variant::kCpo:
      case Variant::kRobust:
        return Sigmoid(a - b);
      case Variant::kIpo:
        return Ipo(a - b);
      case Variant::kHinge:
        return HingeOf(a - b);
      case Variant::kSppoHard:
        return Sppo(a, b);
      case Variant::kApoZero:
        return ApoZero(a, b);
      case Variant::kApoDown:
        return ApoDown(a, b);
      case Variant::kBcoPair:
        return Bco(a, b);
      case Variant::kNcaPair:
        return Nca(a, b);
      case Variant::kSimpo:
        return Simpo(a - b);
      case Variant::kOrpo:
        break;
    }
    return Orpo(a, b);
  }

  // A function of the margin alone, by its slope.
  HWY_INLINE ElementAnswer OfMargin(Lanes loss, Lanes slope) const {
    return {loss, slope, -slope, Nothing()};
  }

  HWY_INLINE ElementAnswer Sigmoid(Lanes margin) const {
    const Logistic s = LogisticOf(beta * margin);
    const bool robust = variant == Variant::kRobust;
    const double scale = robust ? 1 / (1 - 2 * smoothing) : 1;
    const Lanes wrong = Same(robust ? -smoothing : smoothing);
    const Lanes right = Same(1 - smoothing);
    return OfMargin(scale * (Term(right, s.softplus_of_minus) + Term(wrong, s.softplus)),
                    (scale * beta) * (Term(wrong, s.of_plus) - Term(right, s.of_minus)));
  }
  HWY_INLINE ElementAnswer Ipo(Lanes margin) const {
    const Lanes d = margin - 0.5 / beta;
    return OfMargin(d * d, d + d);
  }
  HWY_INLINE ElementAnswer HingeOf(Lanes margin) const {
    const Lanes v = AtLeast(1 - beta * margin, 0);
    return OfMargin(v, Select(v <= 0.0, 0.0, Select(IsNan(v), v, -beta)));
  }
  HWY_INLINE ElementAnswer Simpo(Lanes margin) const {
    const Logistic s = LogisticOf(beta * margin - gamma);
    return OfMargin(s.softplus_of_minus, -beta * s.of_minus);
  }
  HWY_INLINE ElementAnswer Sppo(Lanes a, Lanes b) const {
    const Lanes c = a - 0.5 / beta;
    const Lanes d = b + 0.5 / beta;
    return {c * c + d * d, c + c, d + d, Nothing()};
  }
  HWY_INLINE ElementAnswer ApoZero(Lanes a, Lanes b) const {
    const Logistic s = LogisticOf(beta * a);
    const Logistic r = LogisticOf(beta * b);
    return {s.of_minus + r.of_plus, -beta * Bell(s), beta * Bell(r), Nothing()};
  }
  HWY_INLINE ElementAnswer ApoDown(Lanes a, Lanes b) const {
    const Logistic s = LogisticOf(beta * a);
    const Logistic u = LogisticOf(beta * (a - b));
    return {s.of_plus + u.of_minus, beta * (Bell(s) - Bell(u)), beta * Bell(u), Nothing()};
  }
  HWY_INLINE ElementAnswer Bco(Lanes a, Lanes b) const {
    const Logistic s = LogisticOf(beta * a);
    const Logistic r = LogisticOf(beta * b);
    return {s.softplus_of_minus + r.softplus, -beta * s.of_minus, beta * r.of_plus, Nothing()};
  }
  HWY_INLINE ElementAnswer Nca(Lanes a, Lanes b) const {
    const Logistic s = LogisticOf(beta * a);
    const Logistic r = LogisticOf(beta * b);
    return {s.softplus_of_minus + 0.5 * (s.softplus + r.softplus),
            beta * (0.5 * s.of_plus - s.of_minus), (0.5 * beta) * r.of_plus, Nothing()};
  }
  // Of averages w, l <= 0. 1 - e^w is -expm1(w), so that a w near 0 keeps its digits. With the odds
  // of l written as e^l / (1 - e^l), the first slope stays finite where l is 0.
  HWY_INLINE ElementAnswer Orpo(Lanes w, Lanes l) const {
    const Lanes not_w = -Expm1(w);
    const Lanes not_l = -Expm1(l);
    const Lanes odds = (w - l) - (Log(not_w) - Log(not_l));
    const Lanes sum = Exp(w - l) * not_l + not_w;
    return {beta * LogisticOf(odds).softplus_of_minus, -beta / sum, beta * (not_w / (not_l * sum)),
            Nothing()};
  }

  Variant variant;
  double beta;
  double smoothing;
  double gamma;
};

struct Kto : ElementHead {
  static constexpr std::string_view kName = "kto";
  static constexpr int kExtras = 1;  // the reference's log-probabilities
  static constexpr bool kEvents = true;

  HWY_INLINE explicit Kto(const double* options)
      : beta(options[0]),
        reference_kl(options[1]),
        desirable(options[2]),
        undesirable(options[3]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const LaneMask wanted = in.t == 1.0;
    const Logistic s = LogisticOf(beta * (in.x - in.extra[0] - reference_kl));
    const Lanes weight = Select(wanted, desirable, undesirable);
    const Lanes slope = Select(wanted, -beta, beta);
    const LaneMask known = hn::Or(wanted, in.t == 0.0);
    return {Term(weight, Select(wanted, s.of_minus, s.of_plus)), Term(weight, slope * Bell(s)),
            Nothing(), Event(hn::Not(known), ElementEvent::kBadTarget)};
  }

  double beta;
  double reference_kl;
  double desirable;
  double undesirable;
};

struct Value : ElementHead {
  static constexpr std::string_view kName = "value";
  static constexpr int kExtras = 1;  // the old values

  HWY_INLINE explicit Value(const double* options)
      : clips(!std::isnan(options[0])), clip(options[0]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes d = in.x - in.t;
    if (!clips) return {0.5 * (d * d), d, Nothing(), Nothing()};
    const Lanes old = in.extra[0];
    const Lanes moved = in.x - old;
    const Lanes clipped = old + Clamp(moved, -clip, clip) - in.t;
    const LaneMask larger = Abs(d) < Abs(clipped);
    const Lanes inside = Select(Abs(moved) <= clip, d, 0.0);
    const Lanes used = Select(larger, clipped, d);
    return {0.5 * (used * used), Select(larger, inside, d), Nothing(), Nothing()};
  }

  bool clips;
  double clip;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
