// Arithmetic on the lanes of a register of doubles, written with operators so that a head reads
// like its formula. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_LANES_INL_H_
#undef LOSSD_CORE_KERNELS_LANES_INL_H_
#else
#define LOSSD_CORE_KERNELS_LANES_INL_H_
#endif

#include "core/kernels/exponentials-inl.h"
#include "core/kernels/group-inl.h"
#include "core/kernels/logarithms-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

struct Lanes {
  Vec<double> v;
};
using LaneMask = hn::Mask<Tag<double>>;

HWY_INLINE Lanes Same(double value) { return {hn::Set(Tag<double>(), value)}; }

HWY_INLINE Lanes operator+(Lanes a, Lanes b) { return {hn::Add(a.v, b.v)}; }
HWY_INLINE Lanes operator-(Lanes a, Lanes b) { return {hn::Sub(a.v, b.v)}; }
HWY_INLINE Lanes operator*(Lanes a, Lanes b) { return {hn::Mul(a.v, b.v)}; }
HWY_INLINE Lanes operator/(Lanes a, Lanes b) { return {hn::Div(a.v, b.v)}; }
HWY_INLINE Lanes operator-(Lanes a) { return {hn::Neg(a.v)}; }
HWY_INLINE Lanes operator+(Lanes a, double b) { return a + Same(b); }
HWY_INLINE Lanes operator-(Lanes a, double b) { return a - Same(b); }
HWY_INLINE Lanes operator*(double a, Lanes b) { return Same(a) * b; }
HWY_INLINE Lanes operator-(double a, Lanes b) { return Same(a) - b; }
HWY_INLINE Lanes operator/(double a, Lanes b) { return Same(a) / b; }

HWY_INLINE LaneMask operator<(Lanes a, Lanes b) { return hn::Lt(a.v, b.v); }
HWY_INLINE LaneMask operator<=(Lanes a, Lanes b) { return hn::Le(a.v, b.v); }
HWY_INLINE LaneMask operator==(Lanes a, Lanes b) { return hn::Eq(a.v, b.v); }
HWY_INLINE LaneMask operator<(Lanes a, double b) { return a < Same(b); }
HWY_INLINE LaneMask operator<=(Lanes a, double b) { return a <= Same(b); }
HWY_INLINE LaneMask operator==(Lanes a, double b) { return a == Same(b); }
HWY_INLINE LaneMask operator>(Lanes a, double b) { return Same(b) < a; }
HWY_INLINE LaneMask IsNan(Lanes a) { return hn::IsNaN(a.v); }

HWY_INLINE Lanes Select(LaneMask which, Lanes yes, Lanes no) {
  return {hn::IfThenElse(which, yes.v, no.v)};
}
HWY_INLINE Lanes Select(LaneMask which, double yes, Lanes no) {
  return Select(which, Same(yes), no);
}
HWY_INLINE Lanes Select(LaneMask which, Lanes yes, double no) {
  return Select(which, yes, Same(no));
}
HWY_INLINE Lanes Select(LaneMask which, double yes, double no) {
  return Select(which, Same(yes), Same(no));
}

HWY_INLINE Lanes Abs(Lanes a) { return {hn::Abs(a.v)}; }

// The larger of the two; a NaN of `a` stays.
HWY_INLINE Lanes AtLeast(Lanes a, double least) { return Select(a < least, least, a); }
HWY_INLINE Lanes AtMost(Lanes a, double most) { return Select(a > most, most, a); }
HWY_INLINE Lanes Clamp(Lanes a, double least, double most) {
  return AtMost(AtLeast(a, least), most);
}

// -1, 0 or 1; NaN for NaN.
HWY_INLINE Lanes Sign(Lanes a) {
  return Select(a == 0.0, 0.0, Select(IsNan(a), a, Lanes{hn::CopySign(Same(1).v, a.v)}));
}

// c a, but 0 where the coefficient c is 0, whatever a is.
HWY_INLINE Lanes Term(Lanes c, Lanes a) { return Select(c == 0.0, 0.0, c * a); }

// e^a. The library's polynomial ends at 706.
HWY_INLINE Lanes Exp(Lanes a) {
  const Lanes half = {Exp64((0.5 * AtMost(a, 1500)).v)};
  const Lanes large = half * half;
  return Select(a > 700.0, large, Lanes{Exp64(a.v)});
}

// e^a - 1.
HWY_INLINE Lanes Expm1(Lanes a) {
  const Lanes within = Clamp(a, -800, 700);
  const Lanes small = {hn::Expm1(Tag<double>(), within.v)};
  return Select(IsNan(a), a, Select(a > 700.0, Exp(a), small));
}

// log(a), NaN below 0.
HWY_INLINE Lanes Log(Lanes a) {
  return Select(a < 0.0, kInfinity<double> - Same(kInfinity<double>), Lanes{Log64(a.v)});
}

// log(1 + a) for a >= -1.
HWY_INLINE Lanes Log1p(Lanes a) {
  return Select(a == -1.0, -kInfinity<double>, Lanes{Log1p64(a.v)});
}

// 1 / (1 + e^-a) and 1 minus it, log(1 + e^a) and log(1 + e^-a), all from one exponential and
// without cancellation.
struct Logistic {
  Lanes of_plus;
  Lanes of_minus;
  Lanes softplus;
  Lanes softplus_of_minus;
};
HWY_INLINE Logistic LogisticOf(Lanes a) {
  const Lanes e = {Exp64((-Abs(a)).v)};
  const Lanes larger = 1 / (e + 1.0);
  const Lanes smaller = e * larger;
  const Lanes log = {Log1p64(e.v)};
  const LaneMask negative = a < 0.0;
  return {Select(negative, smaller, larger), Select(negative, larger, smaller), AtLeast(a, 0) + log,
          AtLeast(-a, 0) + log};
}

// The slope of the logistic function, s(x) s(-x).
HWY_INLINE Lanes Bell(const Logistic& s) { return s.of_plus * s.of_minus; }

// a^p for a >= 0 and p >= 0; 0^0 is 1. The whole part of p by multiplication, which keeps all
// digits; a fraction f by a logarithm, whose rounding counts f |log a| times.
HWY_INLINE Lanes Power(Lanes a, double p) {
  constexpr double kMostWhole = 64;
  const double whole = p <= kMostWhole ? static_cast<int>(p) : 0;
  Lanes power = Same(1);
  Lanes factor = a;
  for (int n = static_cast<int>(whole); n > 0; n /= 2) {
    if (n % 2 == 1) power = power * factor;
    factor = factor * factor;
  }
  if (p != whole) power = power * Select(a == 0.0, 0.0, Exp((p - whole) * Log(a)));
  return power;
}

// e^d - 1 - d, without cancellation near 0: a series below 1/4.
HWY_INLINE Lanes ExpMinusLine(Lanes d) {
  Lanes sum = Same(0);
  for (int n = 14; n >= 3; --n) sum = (1.0 / n) * (sum + 1.0) * d;
  return Select(Abs(d) < 0.25, 0.5 * (d * d) * (sum + 1.0), Expm1(d) - d);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
