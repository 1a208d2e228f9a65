// The policy loss of a token, and its head over log-probabilities. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_POLICY_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_POLICY_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_POLICY_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_POLICY_HEADS_INL_H_
#endif

#include <cmath>
#include <string_view>

#include "core/kernels/element_head-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// What a policy loss is made of at one token.
struct TokenArgs {
  Lanes log_probability;
  Lanes advantage;
  Lanes old;        // log-probability of the policy that took the token
  Lanes reference;  // and of the reference
};
struct TokenLoss {
  Lanes loss;
  Lanes slope;  // by the log-probability
};

// Its options are those of the loss's row (PolicyOption).
class TokenObjective {
 public:
  HWY_INLINE explicit TokenObjective(const double* options)
      : objective_(static_cast<Objective>(options[kPolicyObjective])),
        first_(options[1]),
        second_(options[2]),
        third_(options[3]),
        kl_coefficient_(options[kPolicyKlCoefficient]),
        estimator_(static_cast<Estimator>(options[kPolicyKlEstimator])) {}

  HWY_INLINE TokenLoss operator()(const TokenArgs& in) const {
    const Lanes ratio = Exp(in.log_probability - in.old);
    TokenLoss out = OfRatio(in, ratio);
    if (kl_coefficient_ != 0) AddDivergence(in.log_probability - in.reference, ratio, out);
    return out;
  }

 private:
  // In the order of the oneof.
  enum class Objective : int8_t { kImportanceSampling = 1, kPpo, kCispo, kDro, kSapo };
  enum class Estimator : int8_t { kK1 = 1, kK2, kK3, kK3Corrected, kK3ValueK2Gradient };

  HWY_INLINE TokenLoss OfRatio(const TokenArgs& in, Lanes ratio) const {
    switch (objective_) {
      case Objective::kImportanceSampling:
        break;
      case Objective::kPpo:
        return Ppo(in.advantage, ratio);
      case Objective::kCispo:
        return Cispo(in, ratio);
      case Objective::kDro:
        return Dro(in);
      case Objective::kSapo:
        return Sapo(in.advantage, ratio);
    }
    const Lanes loss = -Term(in.advantage, ratio);
    return {loss, loss};
  }

  // A ratio at a bound counts as inside.
  HWY_INLINE TokenLoss Ppo(Lanes a, Lanes ratio) const {
    const LaneMask loses = a < 0.0;
    const Lanes bounded =
        Select(loses, AtMost(AtLeast(ratio, first_), third_), AtMost(ratio, second_));
    const LaneMask cut_above = hn::And(a > 0.0, ratio > second_);
    const LaneMask cut_below = hn::And(loses, hn::Or(ratio<first_, ratio> third_));
    return {-Term(a, bounded), Select(hn::Or(cut_above, cut_below), 0.0, -Term(a, ratio))};
  }
  HWY_INLINE TokenLoss Cispo(const TokenArgs& in, Lanes ratio) const {
    const Lanes c = Term(in.advantage, Clamp(ratio, first_, second_));
    return {-Term(c, in.log_probability), -c};
  }
  HWY_INLINE TokenLoss Dro(const TokenArgs& in) const {
    const Lanes moved = in.log_probability - in.old;
    return {(0.5 * first_) * (moved * moved) - Term(in.advantage, in.log_probability),
            first_ * moved - in.advantage};
  }
  HWY_INLINE TokenLoss Sapo(Lanes a, Lanes ratio) const {
    const Lanes tau = Select(a > 0.0, first_, second_);
    const Logistic s = LogisticOf(tau * (ratio - 1.0));
    return {-4 * (Term(a, s.of_plus) / tau), -4 * Term(a, Term(Bell(s), ratio))};
  }

  HWY_INLINE void AddDivergence(Lanes d, Lanes ratio, TokenLoss& out) const {
    Lanes value = d;
    Lanes slope = Select(IsNan(d), d, 1.0);
    switch (estimator_) {
      case Estimator::kK1:
        break;
      case Estimator::kK2:
        value = 0.5 * (d * d);
        slope = d;
        break;
      case Estimator::kK3:
        value = ExpMinusLine(-d);
        slope = -Expm1(-d);
        break;
      case Estimator::kK3Corrected:
        value = ratio * ExpMinusLine(-d);
        slope = ratio * d;
        break;
      case Estimator::kK3ValueK2Gradient:
        value = ExpMinusLine(-d);
        slope = d;
        break;
    }
    out.loss = out.loss + kl_coefficient_ * value;
    out.slope = out.slope + kl_coefficient_ * slope;
  }

  Objective objective_;
  double first_;
  double second_;
  double third_;
  double kl_coefficient_;
  Estimator estimator_;
};

struct Policy : ElementHead {
  static constexpr std::string_view kName = "policy";
  static constexpr bool kTargets = false;
  static constexpr int kExtras = 3;  // advantages, the old log-probabilities, the reference's

  HWY_INLINE explicit Policy(const double* options) : objective(options) {}

  HWY_INLINE ElementAnswer operator()(const ElementArgs& in) const {
    const TokenLoss out = objective({in.x, in.extra[0], in.extra[1], in.extra[2]});
    return {out.loss, out.slope, Nothing(), Nothing()};
  }

  TokenObjective objective;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
