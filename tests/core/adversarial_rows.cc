#include "tests/core/adversarial_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lossd::oracle {
namespace {

using Values = std::vector<Real>;
constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

Values Filled(int64_t n, Real value) { return Values(n, value); }

Values Uniform(int64_t n, Real low, Real high, Random& random) {
  Values row(n);
  for (Real& x : row) x = random.Uniform(low, high);
  return row;
}

// Maximum 0, and all others within 2 % of `distance` below.
Values Around(int64_t n, Real distance, Random& random) {
  Values row = Uniform(n, distance * 1.02L, distance * 0.98L, random);
  row[random.Below(n)] = 0;
  return row;
}

// ---------------------------------------------------------------------------- finite rows

Values AllZero(int64_t n, DType, Random&) { return Filled(n, 0); }
// No maximum subtracted: overflow. A maximum that starts from a finite constant: NaN.
Values AllFarAbove(int64_t n, DType, Random&) { return Filled(n, 1e4L); }
Values AllFarBelow(int64_t n, DType, Random&) { return Filled(n, -1e4L); }
Values Typical(int64_t n, DType, Random& random) { return Uniform(n, -8, 8, random); }
Values Probabilities(int64_t n, DType, Random& random) { return Uniform(n, 0, 1, random); }
// The logarithm near 1 has to keep relative accuracy.
Values JustBelowOne(int64_t n, DType dtype, Random& random) {
  return Uniform(n, 1 - 16 * UnitRoundoff(dtype), 1 + 16 * UnitRoundoff(dtype), random);
}
Values WideRange(int64_t n, DType, Random& random) { return Uniform(n, -1e4L, 1e4L, random); }
// The difference of two of these is beyond the dtype, not beyond f64 (but for f64 itself).
Values MaxFinites(int64_t n, DType dtype, Random& random) {
  Values row(n);
  for (Real& x : row) x = random.OneIn(2) ? MaxFinite(dtype) : -MaxFinite(dtype);
  return row;
}
// Where exp in f32 leaves the normal numbers, and where it becomes 0; the same for f64.
Values F32Denormal(int64_t n, DType, Random& random) { return Around(n, -87.3L, random); }
Values F32Underflow(int64_t n, DType, Random& random) { return Around(n, -103.97L, random); }
Values F64Denormal(int64_t n, DType, Random& random) { return Around(n, -708, random); }
Values F64Underflow(int64_t n, DType, Random& random) { return Around(n, -745, random); }
Values Spike(int64_t n, DType, Random& random) {
  Values row = Filled(n, 0);
  row[random.Below(n)] = 80;
  return row;
}
Values NearCertain(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -1, 1, random);
  row[random.Below(n)] = random.Pick({20.0L, 40.0L});
  return row;
}
// The lowest index wins, wherever the second maximum lies.
Values TwoMaxima(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row[random.Below(n)] = 5;
  row[random.Below(n)] = 5;
  return row;
}
Values FewDistinctValues(int64_t n, DType, Random& random) {
  Values row(n);
  for (Real& x : row) x = Real(random.Below(3));
  return row;
}
Values MaximumLast(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row.back() = 9;
  return row;
}
Values MaximumFirst(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row.front() = 9;
  return row;
}
// Running maxima: rescaled at every step, or never.
Values SortedUp(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -30, 30, random);
  std::sort(row.begin(), row.end());
  return row;
}
Values SortedDown(int64_t n, DType dtype, Random& random) {
  Values row = SortedUp(n, dtype, random);
  std::reverse(row.begin(), row.end());
  return row;
}
Values Alternating(int64_t n, DType, Random&) {
  Values row(n);
  for (int64_t i = 0; i < n; ++i) row[i] = i % 2 == 0 ? 12.5L : -12.5L;
  return row;
}
// Summed one after the other, the many vanish against the one.
Values OneHugeManyTiny(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -16.75L, -16.25L, random);
  row.front() = 0;
  return row;
}
Values Denormals(int64_t n, DType dtype, Random& random) {
  return Uniform(n, -SmallestNormal(dtype), SmallestNormal(dtype), random);
}
Values SignedZeros(int64_t n, DType, Random& random) {
  Values row(n);
  for (Real& x : row) x = random.OneIn(2) ? 0.0L : -0.0L;
  return row;
}
// Neighbours in bf16: the half-way cases of a conversion.
Values Neighbours(int64_t n, DType dtype, Random& random) {
  Values row(n);
  for (Real& x : row) x = 1 + Real(random.Below(4)) * UnitRoundoff(dtype);
  return row;
}

// ---------------------------------------------------------------------------- non-finite rows

Values SomeMasked(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  for (Real& x : row) x = random.OneIn(3) ? -kInf : x;
  return row;
}
Values AllMaskedButOne(int64_t n, DType, Random& random) {
  Values row = Filled(n, -kInf);
  row[random.Below(n)] = 1.5L;
  return row;
}
Values AllMaskedButLast(int64_t n, DType, Random&) {
  Values row = Filled(n, -kInf);
  row.back() = -2;
  return row;
}
Values AllMasked(int64_t n, DType, Random&) { return Filled(n, -kInf); }
Values OneNan(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row[random.Below(n)] = kNan;
  return row;
}
Values NanLast(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row.back() = kNan;
  return row;
}
// A maximum that forgets a NaN which came before it.
Values NanFirst(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row.front() = kNan;
  return row;
}
Values OneInfinity(int64_t n, DType, Random& random) {
  Values row = Uniform(n, -4, 4, random);
  row[random.Below(n)] = kInf;
  return row;
}
Values InfinitiesOfBothSigns(int64_t n, DType, Random& random) {
  Values row = Filled(n, -kInf);
  row[random.Below(n)] = kInf;
  return row;
}
// Neither is to leak into these, its neighbours.
Values Innocent(int64_t n, DType, Random& random) { return Uniform(n, -4, 4, random); }

}  // namespace

const std::vector<AdversarialRow>& FiniteRows() {
  static const std::vector<AdversarialRow> rows = {
      {"all_zero", AllZero},
      {"all_far_above", AllFarAbove},
      {"all_far_below", AllFarBelow},
      {"typical", Typical},
      {"probabilities", Probabilities},
      {"just_below_one", JustBelowOne},
      {"wide_range", WideRange},
      {"max_finites", MaxFinites},
      {"f32_denormal", F32Denormal},
      {"f32_underflow", F32Underflow},
      {"f64_denormal", F64Denormal},
      {"f64_underflow", F64Underflow},
      {"spike", Spike},
      {"near_certain", NearCertain},
      {"two_maxima", TwoMaxima},
      {"few_distinct_values", FewDistinctValues},
      {"maximum_last", MaximumLast},
      {"maximum_first", MaximumFirst},
      {"sorted_up", SortedUp},
      {"sorted_down", SortedDown},
      {"alternating", Alternating},
      {"one_huge_many_tiny", OneHugeManyTiny},
      {"denormals", Denormals},
      {"signed_zeros", SignedZeros},
      {"neighbours", Neighbours},
  };
  return rows;
}

const std::vector<AdversarialRow>& NonFiniteRows() {
  static const std::vector<AdversarialRow> rows = {
      {"some_masked", SomeMasked},
      {"all_masked_but_one", AllMaskedButOne},
      {"all_masked_but_last", AllMaskedButLast},
      {"innocent", Innocent},
      {"all_masked", AllMasked},
      {"one_nan", OneNan},
      {"innocent", Innocent},
      {"nan_last", NanLast},
      {"nan_first", NanFirst},
      {"innocent", Innocent},
      {"one_infinity", OneInfinity},
      {"infinities_of_both_signs", InfinitiesOfBothSigns},
      {"innocent", Innocent},
  };
  return rows;
}

}  // namespace lossd::oracle
