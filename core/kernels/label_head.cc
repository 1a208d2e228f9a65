// The head of a softmax loss with one label a position: KernelSet::label_head.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/label_head.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/group-inl.h"
#include "core/kernels/logarithms-inl.h"
#include "core/kernels/tables.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// A double of which the lower 27 bits are 0, and the rest.
constexpr uint64_t kHeadBits = ~uint64_t{0x7ffffff};
HWY_INLINE Vec<double> HeadOf(Vec<double> x) {
  const hn::RebindToUnsigned<Tag<double>> du;
  return hn::BitCast(Tag<double>(), hn::And(hn::BitCast(du, x), hn::Set(du, kHeadBits)));
}

// u^exponent for 0 <= u <= 1 and exponent > 0, within a few units in the last place: the logarithm
// and its product with the exponent are kept in two parts each.
HWY_INLINE Vec<double> GeneralPower(Vec<double> u, double exponent) {
  const Tag<double> d;
  const hn::RebindToSigned<Tag<double>> di;
  // u = m 2^e with m in [sqrt(1/2), sqrt(2)), denormal numbers made normal first.
  const auto is_small = hn::Lt(u, hn::Set(d, 0x1p-1000));
  const auto bits = hn::BitCast(di, hn::IfThenElse(is_small, hn::Mul(u, hn::Set(d, 0x1p100)), u));
  const auto root_half = hn::BitCast(di, hn::Set(d, 0.70710678118654752));
  const auto whole = hn::ShiftRight<52>(hn::Sub(bits, root_half));
  const auto m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<52>(whole)));
  const auto shift = hn::IfThenElseZero(is_small, hn::Set(d, 100.0));
  const auto e = hn::Sub(hn::ConvertTo(d, whole), shift);
  // log u = high + low; e times the upper part of log 2 is exact.
  const auto log_m = hn::Log(d, m);
  const auto upper = hn::Mul(e, hn::Set(d, 6.93147180369123816490e-01));
  const auto high = hn::Add(upper, log_m);
  auto low = hn::Add(hn::Sub(upper, high), log_m);
  low = hn::MulAdd(e, hn::Set(d, 1.90821492927058770002e-10), low);
  const auto factor = hn::Set(d, exponent);
  const auto factor_head = HeadOf(factor);
  const auto factor_tail = hn::Sub(factor, factor_head);
  const auto high_head = HeadOf(high);
  const auto high_tail = hn::Sub(high, high_head);
  const auto product = hn::Mul(factor, high);
  auto error = hn::Sub(hn::Mul(factor_head, high_head), product);
  error = hn::Add(error, hn::Mul(factor_head, high_tail));
  error = hn::Add(error, hn::Mul(factor_tail, high_head));
  error = hn::Add(error, hn::Mul(factor_tail, high_tail));
  error = hn::MulAdd(factor, low, error);
  const auto power = hn::Exp(d, product);
  const auto exact = hn::MulAdd(power, error, power);
  return hn::IfThenZeroElse(hn::Eq(u, hn::Zero(d)), exact);
}

// u^exponent for 0 <= u <= 1 and exponent >= 0; 1 for an exponent of 0.
HWY_INLINE Vec<double> Power(Vec<double> u, double exponent) {
  constexpr double kMostFactors = 8;
  if (exponent > kMostFactors || exponent != static_cast<int>(exponent)) {
    return GeneralPower(u, exponent);
  }
  auto power = hn::Set(Tag<double>(), 1.0);
  for (int i = 0; i < static_cast<int>(exponent); ++i) power = hn::Mul(power, u);
  return power;
}

// What focal modulation makes of a weight w: w u^gamma, and c' = w u^gamma (1 + gamma s l0 / u)
// with l0 = -log s and u = 1 - s.
struct Modulated {
  Vec<double> weight;
  Vec<double> slope;
};
HWY_INLINE Modulated Modulate(Vec<double> weight, Vec<double> l0, Vec<double> s, Vec<double> u,
                              double gamma) {
  const Tag<double> d;
  const auto zero = hn::Zero(d);
  const auto one = hn::Set(d, 1.0);
  const auto ratio = hn::IfThenElse(hn::Eq(u, zero), one, hn::Div(l0, u));
  const auto share = hn::IfThenZeroElse(hn::Eq(s, zero), hn::Mul(s, ratio));  // l0 may be infinite
  const auto modulated = hn::Mul(weight, Power(u, gamma));
  return {modulated, hn::Mul(modulated, hn::MulAdd(hn::Set(d, gamma), share, one))};
}

void LabelHead(const SoftmaxHead& head, const HeadInput& in, const HeadOutput& out) {
  const Tag<double> d;
  const auto option = [&head](LabelHeadOption which) { return head.options[which]; };
  const auto cap = hn::Set(d, option(kLossCap));
  const double gamma = option(kFocalGamma);
  const double zeta = option(kLseSquareScale);
  for (int64_t i = 0; i < in.count; i += kLanes<double>) {
    const auto l0 = hn::Load(d, in.minus_log_p + i);
    const auto weight = hn::LoadU(d, head.weight + in.first + i);
    Modulated by = {weight, weight};
    if (gamma >= 0) {
      by = Modulate(weight, l0, hn::Load(d, in.probability + i), hn::Load(d, in.others + i), gamma);
    }
    const auto capped = hn::IfThenElse(hn::Gt(l0, cap), cap, l0);  // not Min: NaN stays
    const auto weighs = hn::Ne(by.weight, hn::Zero(d));
    auto loss = hn::IfThenElseZero(weighs, hn::Mul(by.weight, capped));
    auto sum_slope = hn::Zero(d);
    if (zeta > 0) {
      const auto lse = hn::Load(d, in.log_sum_exp + i);
      const auto scaled = hn::Mul(hn::Set(d, zeta), lse);
      loss = hn::MulAdd(scaled, lse, loss);
      sum_slope = hn::Add(scaled, scaled);
    }
    hn::Store(loss, d, out.loss + i);
    hn::Store(hn::Neg(by.slope), d, out.label_slope + i);
    hn::Store(sum_slope, d, out.sum_slope + i);
  }
}

void FillLabelHead(KernelSet& set) { set.label_head = LabelHead; }

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillLabelHead);
void AddLabelHead(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillLabelHead)(set); }
}  // namespace lossd::kernels
#endif
