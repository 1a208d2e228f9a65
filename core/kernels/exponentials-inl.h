// e^x of differences from a peak. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_EXPONENTIALS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_EXPONENTIALS_INL_H_
#undef LOSSD_CORE_KERNELS_EXPONENTIALS_INL_H_
#else
#define LOSSD_CORE_KERNELS_EXPONENTIALS_INL_H_
#endif

#include "core/kernels/group-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// Max(low, d), but NaN where d is NaN: which of its operands Max returns then is the target's
// affair, on x86 the second, on ARM the number.
HWY_INLINE Vec<float> AtLeast(Vec<float> low, Vec<float> d) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  return hn::Max(low, d);
#else
  return hn::IfThenElse(hn::Lt(d, low), low, d);
#endif
}

// e^d * 2^24 for d <= 0 in float, NaN for NaN. Relative error below 2^-23 from -103.9 up, where the
// result is a normal number; exactly 0 from -105 down; less than 2^-125 between. (Seen over all
// floats: tests/core/exponential_test.cc.) |r| <= ln2/2: e^r = 1 + r + r^2 q(r), q minimax of
// degree 4 weighted for relative error (0.07 u).
//
// In two factors: d becomes e^r - 1, and power 2^(n + 24).
template <int kCount>
HWY_INLINE void ScaledExpFactors(Vec<float> (&d)[kCount], Vec<float> (&power)[kCount]) {
  const Tag<float> tag;
  const hn::RebindToUnsigned<Tag<float>> bits;
  // Adding 1.5 * 2^23 rounds to an integer n in the low bits; 151 more makes them the biased
  // exponent of 2^(n + 24).
  const auto magic = hn::Set(tag, 12582912.0f + 151.0f);
  Vec<float> r[kCount];
  Vec<float> q[kCount];
  // Step by step for all of them: one alone would wait for each of its steps.
  const auto each = [](auto step) HWY_ATTR {
    for (int j = 0; j < kCount; ++j) step(j);
  };
  // At -105 the exponent below is 0, and so the power.
  each([&](int j) HWY_ATTR { d[j] = AtLeast(hn::Set(tag, -105.0f), d[j]); });
  each([&](int j) HWY_ATTR { power[j] = hn::MulAdd(d[j], hn::Set(tag, 1.44269504f), magic); });
  each([&](int j) HWY_ATTR { q[j] = hn::Sub(power[j], magic); });
  each([&](int j) HWY_ATTR { r[j] = hn::NegMulAdd(q[j], hn::Set(tag, 0.693359375f), d[j]); });
  each([&](int j) HWY_ATTR { r[j] = hn::NegMulAdd(q[j], hn::Set(tag, -2.12194440e-4f), r[j]); });
  each([&](int j) HWY_ATTR {
    q[j] = hn::MulAdd(hn::Set(tag, 0x1.6a2256p-10f), r[j], hn::Set(tag, 0x1.123b02p-7f));
  });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], r[j], hn::Set(tag, 0x1.5558f8p-5f)); });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], r[j], hn::Set(tag, 0x1.555490p-3f)); });
  each([&](int j) HWY_ATTR { q[j] = hn::MulAdd(q[j], r[j], hn::Set(tag, 0x1.fffffcp-2f)); });
  each([&](int j) HWY_ATTR { d[j] = hn::MulAdd(q[j], hn::Mul(r[j], r[j]), r[j]); });
  each([&](int j) HWY_ATTR {
    power[j] = hn::BitCast(tag, hn::ShiftLeft<23>(hn::BitCast(bits, power[j])));
  });
}

template <int kCount>
HWY_INLINE void ScaledExps(Vec<float> (&d)[kCount]) {
  Vec<float> power[kCount];
  ScaledExpFactors(d, power);
  for (int j = 0; j < kCount; ++j) d[j] = hn::MulAdd(d[j], power[j], power[j]);
}

HWY_INLINE Vec<float> ScaledExp(Vec<float> d) {
  Vec<float> only[1] = {d};
  ScaledExps(only);
  return only[0];
}

// Groups whose exponentials are computed side by side: as many as the registers hold.
constexpr int kSideBySide = HWY_TARGET <= HWY_AVX3 ? 4 : 1;

// e^d for d <= 0 in double, NaN for NaN.
HWY_INLINE Vec<double> Exp64(Vec<double> d) {
  const Tag<double> tag;
  return hn::IfThenElse(hn::IsNaN(d), d, hn::Exp(tag, d));
}

HWY_INLINE double ExpScalar(double d) { return hn::GetLane(Exp64(hn::Set(Tag<double>(), d))); }

// e^(x - peak) in double with the rounding error of the difference made good, so that the relative
// error does not grow with the distance.
HWY_INLINE Vec<double> ExpOfDifference(Vec<double> x, Vec<double> peak) {
  const auto d = hn::Sub(x, peak);
  const auto part = hn::Sub(d, x);
  const auto error = hn::Sub(hn::Sub(x, hn::Sub(d, part)), hn::Add(peak, part));
  const auto e = Exp64(d);
  // At infinite distance the error is NaN and e is exact.
  return hn::IfThenElse(hn::Eq(e, hn::Zero(Tag<double>())), e, hn::MulAdd(e, error, e));
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
