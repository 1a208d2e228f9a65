// Heads of losses with binary targets. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_BINARY_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_BINARY_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_BINARY_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_BINARY_HEADS_INL_H_
#endif

#include <cmath>
#include <string_view>

#include "core/kernels/element_head-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// Binary targets as numbers in [0, 1].
enum class BinaryTargets : int8_t { kZeroOne = 1, kSigned = 2 };
HWY_INLINE Lanes ZeroToOne(Lanes t, BinaryTargets targets) {
  return targets == BinaryTargets::kSigned ? 0.5 * (t + 1.0) : t;
}
// And as -1 or 1.
HWY_INLINE Lanes MinusOneOrOne(Lanes t, BinaryTargets targets) {
  return targets == BinaryTargets::kSigned ? t : 2 * t - 1.0;
}

struct BinaryCrossEntropy : ElementHead {
  static constexpr std::string_view kName = "binary_cross_entropy";
  static constexpr int kExtras = 1;  // p, the weight of targets of 1
  static constexpr bool kEvents = true;

  HWY_INLINE explicit BinaryCrossEntropy(const double* options)
      : logits(options[0] == 1),
        epsilon(options[1]),
        targets(static_cast<BinaryTargets>(options[2])),
        smoothing(options[3]) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes t = ZeroToOne(in.t, targets);
    const Lanes c = in.extra[0] * Smoothed(t);
    const Lanes r = Smoothed(1 - t);
    return logits ? OfLogits(in.x, c, r) : OfProbabilities(in.x, c, r);
  }

  HWY_INLINE Lanes Smoothed(Lanes t) const {
    return smoothing == 0 ? t : (1 - smoothing) * t + 0.5 * smoothing;
  }

  // The coefficients c = p t' and r = 1 - t', each found without cancellation.
  HWY_INLINE ElementAnswer OfLogits(Lanes x, Lanes c, Lanes r) const {
    const Logistic s = LogisticOf(x);
    return {Term(c, s.softplus_of_minus) + Term(r, s.softplus),
            Term(r, s.of_plus) - Term(c, s.of_minus), Nothing(), Nothing()};
  }

  // A probability outside [0, 1] is taken for the nearer end.
  HWY_INLINE ElementAnswer OfProbabilities(Lanes x, Lanes c, Lanes r) const {
    const Lanes y = Clamp(x, 0, 1);
    const Lanes rest = 1 - y;
    const LaneMask low = y < epsilon;
    const LaneMask high = rest < epsilon;
    const Lanes log_y = Log(Select(low, epsilon, y));
    const Lanes log_rest = Select(high, Log(Same(epsilon)), Log1p(-y));
    const LaneMask clamped = hn::Or(hn::Or(x<0.0, x> 1.0),
                                    hn::Or(hn::AndNot(c == 0.0, low), hn::AndNot(r == 0.0, high)));
    return {-Term(c, log_y) - Term(r, log_rest),
            Term(r, 1 / Select(high, epsilon, rest)) - Term(c, 1 / Select(low, epsilon, y)),
            Nothing(), Event(clamped, ElementEvent::kClamped)};
  }

  bool logits;
  double epsilon;
  BinaryTargets targets;
  double smoothing;
};

struct SigmoidFocal : ElementHead {
  static constexpr std::string_view kName = "sigmoid_focal";

  HWY_INLINE explicit SigmoidFocal(const double* options)
      : gamma(options[0]),
        weighted(!std::isnan(options[1])),
        alpha(options[1]),
        targets(static_cast<BinaryTargets>(options[2])) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes t = ZeroToOne(in.t, targets);
    const Lanes not_t = 1 - t;
    const Logistic s = LogisticOf(in.x);
    const Lanes entropy = Term(t, s.softplus_of_minus) + Term(not_t, s.softplus);
    const Lanes u = s.of_plus * not_t + s.of_minus * t;
    Lanes weight = Power(u, gamma);
    if (weighted) weight = weight * (alpha * t + (1 - alpha) * not_t);
    const Lanes ratio = Select(u == 0.0, 1.0, entropy / u);
    const Lanes slope = Term(not_t, s.of_plus) - Term(t, s.of_minus) +
                        gamma * ratio * (not_t - t) * (s.of_plus * s.of_minus);
    return {Term(weight, entropy), Term(weight, slope), Nothing(), Nothing()};
  }

  double gamma;
  bool weighted;
  double alpha;
  BinaryTargets targets;
};

struct Hinge : ElementHead {
  static constexpr std::string_view kName = "hinge";
  static constexpr bool kEvents = true;

  HWY_INLINE explicit Hinge(const double* options)
      : margin(options[0]),
        squared(options[1] == 2),
        targets(static_cast<BinaryTargets>(options[2])) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const Lanes y = MinusOneOrOne(in.t, targets);
    const Lanes v = AtLeast(margin - y * in.x, 0);
    const LaneMask flat = v <= 0.0;
    const Lanes bad = RefuseUnlessSigned(y);
    if (squared) return {v * v, Select(flat, 0.0, -2 * (y * v)), Nothing(), bad};
    const Lanes slope = Select(IsNan(v), v, -y);
    return {v, Select(flat, 0.0, slope), Nothing(), bad};
  }

  double margin;
  bool squared;
  BinaryTargets targets;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
