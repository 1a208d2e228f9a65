#include "lossd/exact_sum.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/big_number.h"
#include "tests/support/random.h"

namespace lossd::oracle {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kMax = std::numeric_limits<double>::max();
constexpr double kDenormal = 5e-324;

ExactSum SumOf(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.Add(term);
  return sum;
}

double ModelOf(const std::vector<double>& terms) {
  BigSum sum;
  for (const double term : terms) sum.Add(term);
  return sum.Round();
}

uint64_t BitsOf(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

#define EXPECT_SAME_DOUBLE(got, want) EXPECT_EQ(BitsOf(got), BitsOf(want)) << (got) << " " << (want)

TEST(BigSum, KnownSums) {
  EXPECT_EQ(ModelOf({1, 2, 3}), 6);
  EXPECT_EQ(ModelOf({1e300, 1, -1e300}), 1);
  EXPECT_EQ(ModelOf({kDenormal, kDenormal}), 2 * kDenormal);
  EXPECT_EQ(ModelOf({1, std::ldexp(1.0, -53)}), 1);  // a tie, to even
  EXPECT_EQ(ModelOf({1, std::ldexp(1.0, -53), kDenormal}), std::nextafter(1.0, 2.0));
  EXPECT_EQ(ModelOf({kMax, kMax}), kInf);
}

struct SumCase {
  const char* name;
  std::vector<double> terms;
  double sum;
};

TEST(ExactSum, NamedSums) {
  const double half_ulp = std::ldexp(1.0, -53);
  const SumCase cases[] = {
      {"empty", {}, 0},
      {"minus_zero", {-0.0, -0.0}, 0},
      {"cancels", {1e300, 1, -1e300}, 1},
      {"cancels_to_zero", {1, -1}, 0},
      {"denormals", {kDenormal, kDenormal, kDenormal}, 3 * kDenormal},
      {"denormal_difference", {2.2250738585072014e-308, -kDenormal}, 2.225073858507201e-308},
      {"tie_to_even_down", {1, half_ulp}, 1},
      {"tie_to_even_up", {std::nextafter(1.0, 2.0), half_ulp}, 1 + 4 * half_ulp},
      {"just_above_tie", {1, half_ulp, kDenormal}, 1 + 2 * half_ulp},
      {"just_below_tie", {1, half_ulp, -kDenormal}, 1},
      {"overflow", {kMax, kMax}, kInf},
      {"negative_overflow", {-kMax, -kMax}, -kInf},
      {"overflow_taken_back", {kMax, kMax, -kMax}, kMax},
      {"largest_that_rounds_down", {kMax, std::ldexp(1.0, 969)}, kMax},
      {"half_ulp_above_max", {kMax, std::ldexp(1.0, 970)}, kInf},
      {"infinity", {1, kInf, -kMax}, kInf},
      {"minus_infinity", {-kInf, kMax}, -kInf},
      {"both_infinities", {kInf, -kInf}, kNan},
      {"nan", {kNan, kInf}, kNan},
  };
  for (const SumCase& c : cases) {
    const double got = SumOf(c.terms).Round();
    if (std::isnan(c.sum)) {
      EXPECT_TRUE(std::isnan(got)) << c.name;
    } else {
      EXPECT_EQ(BitsOf(got), BitsOf(c.sum)) << c.name << ": " << got;
    }
  }
}

// Terms of every size, many of which cancel.
std::vector<double> RandomTerms(Random& random, int count, int spread) {
  std::vector<double> terms;
  for (int i = 0; i < count; ++i) {
    const int exponent = static_cast<int>(random.Below(2 * spread + 1)) - spread;
    const auto term = static_cast<double>(std::ldexp(random.Uniform(-1, 1), exponent));
    terms.push_back(term);
    if (random.OneIn(3)) terms.push_back(-term);
    if (random.OneIn(5)) terms.push_back(std::nextafter(-term, 0));
    if (random.OneIn(9)) terms.push_back(kDenormal * static_cast<double>(random.Below(1000)));
  }
  return terms;
}

TEST(ExactSum, IsTheModelsSum) {
  Random random(10);
  for (int round = 0; round < 400; ++round) {
    const std::vector<double> terms = RandomTerms(random, 1 + static_cast<int>(random.Below(40)),
                                                  random.Pick({1, 30, 60, 300, 1000, 1020}));
    EXPECT_SAME_DOUBLE(SumOf(terms).Round(), ModelOf(terms)) << "LOSSD_TEST_SEED=" << TestSeed();
  }
}

// Every f64 exponent, alone, against a neighbour, and subtracted from one.
TEST(ExactSum, EveryExponent) {
  for (int exponent = -1074; exponent < 1024; ++exponent) {
    const double power = std::ldexp(1.0, exponent);
    EXPECT_SAME_DOUBLE(SumOf({power}).Round(), power);
    EXPECT_SAME_DOUBLE(SumOf({-power}).Round(), -power);
    const double odd = std::nextafter(power, kInf);
    for (const std::vector<double>& terms :
         {std::vector<double>{odd, power}, {odd, -power}, {odd, 1}, {-odd, 1}, {odd, kDenormal}}) {
      EXPECT_SAME_DOUBLE(SumOf(terms).Round(), ModelOf(terms)) << exponent;
    }
  }
}

TEST(ExactSum, OrderAndGroupingDoNotShow) {
  Random random(11);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> terms = RandomTerms(random, 60, 900);
    const ExactSum whole = SumOf(terms);
    for (size_t i = terms.size(); i > 1; --i) {
      std::swap(terms[i - 1], terms[random.Below(static_cast<int64_t>(i))]);
    }
    EXPECT_TRUE(SumOf(terms) == whole);
    // Cut anywhere, sum the parts, merge them as a tree of random shape.
    std::vector<ExactSum> parts;
    for (size_t i = 0; i < terms.size();) {
      const size_t end = std::min(terms.size(), i + 1 + random.Below(20));
      parts.push_back(SumOf({terms.begin() + i, terms.begin() + end}));
      i = end;
    }
    while (parts.size() > 1) {
      const auto victim = random.Below(static_cast<int64_t>(parts.size()) - 1);
      parts[victim].Merge(parts.back());
      parts.pop_back();
    }
    EXPECT_TRUE(parts[0] == whole);
    EXPECT_SAME_DOUBLE(parts[0].Round(), whole.Round());
    EXPECT_EQ(parts[0].ToPortable(), whole.ToPortable());
  }
}

TEST(ExactSum, MergeAddsNonFiniteTerms) {
  ExactSum sum = SumOf({1, kInf});
  EXPECT_EQ(sum.Round(), kInf);
  sum.Merge(SumOf({-kInf}));
  EXPECT_TRUE(std::isnan(sum.Round()));
  EXPECT_EQ(sum.ToPortable().positive_infinities, 1);
  EXPECT_EQ(sum.ToPortable().negative_infinities, 1);
  ExactSum with_nan;
  with_nan.Merge(SumOf({kNan}));
  EXPECT_TRUE(std::isnan(with_nan.Round()));
  EXPECT_EQ(with_nan.ToPortable().nan_terms, 1);
}

TEST(ExactSum, MergingWithItselfDoubles) {
  ExactSum sum = SumOf({0.1, 1e-300, -3e200});
  sum.Merge(sum);
  EXPECT_TRUE(sum == SumOf({0.2, 2e-300, -6e200}));
}

TEST(ExactSum, ManyTermsOfOneSign) {
  // Beyond any early carry, with a known sum: 2^22 times the largest significand.
  ExactSum sum;
  const double term = std::ldexp(1.0, 53) - 1;
  for (int i = 0; i < 1 << 22; ++i) sum.Add(term);
  EXPECT_EQ(sum.Round(), std::ldexp(term, 22));
  for (int i = 0; i < 1 << 22; ++i) sum.Add(-term);
  EXPECT_TRUE(sum == ExactSum());
}

TEST(ExactSum, AddAllIsAddOfEach) {
  Random random(15);
  for (const int count : {0, 1, 127, 128, 129, 1023, 1024, 1025, 5000}) {
    // The largest significands of one sign need the most room; special terms are counted.
    const std::vector<double> large(count, std::ldexp(1.0, 53) - 1);
    std::vector<double> mixed = RandomTerms(random, count, 500);
    for (int i = 0; i + 7 < count; i += 100) {
      mixed[i + 1] = kNan;
      mixed[i + 3] = -kInf;
      mixed[i + 5] = kInf;
      mixed[i + 7] = kDenormal;
    }
    for (const std::vector<double>& terms : {large, mixed}) {
      ExactSum one_by_one;
      for (const double term : terms) one_by_one.Add(term);
      ExactSum all;
      all.AddAll(terms);
      EXPECT_TRUE(all == one_by_one) << count;
    }
  }
}

// ---------------------------------------------------------------------------- the portable form

// The value of a portable form, by its definition, for small exponents spreads only.
double ValueOf(const ExactSum::Portable& portable) {
  BigSum sum;
  const size_t size = portable.magnitude.size();
  for (size_t i = 0; i < size; ++i) {
    int byte = static_cast<int>(portable.magnitude[i]);
    if (i + 1 == size && byte >= 128) byte -= 256;  // two's complement: the top byte is signed
    for (int bit = 0; bit < 8; ++bit) {
      const int exponent = portable.exponent + 8 * static_cast<int>(i) + bit;
      if ((std::abs(byte) >> bit) & 1) sum.Add(std::copysign(std::ldexp(1.0, exponent), byte));
    }
  }
  return sum.Round();
}

TEST(ExactSumPortable, MeansWhatTheContractSays) {
  Random random(12);
  for (int round = 0; round < 200; ++round) {
    const std::vector<double> terms = RandomTerms(random, 20, 500);
    // Multiples of 2^-1022, so that every byte of the form is a double of its own.
    std::vector<double> normal;
    for (const double term : terms) {
      if (std::fabs(term) > std::ldexp(1.0, -900)) normal.push_back(term);
    }
    const ExactSum sum = SumOf(normal);
    EXPECT_SAME_DOUBLE(ValueOf(sum.ToPortable()), sum.Round());
  }
}

TEST(ExactSumPortable, IsCanonicalAndSurvivesTheRoundTrip) {
  Random random(13);
  for (int round = 0; round < 300; ++round) {
    const ExactSum sum =
        SumOf(RandomTerms(random, static_cast<int>(random.Below(30)), random.Pick({1, 60, 1020})));
    const ExactSum::Portable portable = sum.ToPortable();
    EXPECT_LE(portable.magnitude.size(), ExactSum::kMaxMagnitudeBytes);
    EXPECT_EQ(portable.exponent % 32, 0);
    const absl::StatusOr<ExactSum> again = ExactSum::FromPortable(portable);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == sum);
    EXPECT_EQ(again->ToPortable(), portable);
    EXPECT_SAME_DOUBLE(again->Round(), sum.Round());
  }
}

TEST(ExactSumPortable, ExtremesSurviveTheRoundTrip) {
  for (const std::vector<double>& terms : {std::vector<double>{},
                                           {kMax, kMax, kMax},
                                           {-kMax, -kMax},
                                           {kDenormal},
                                           {-kDenormal},
                                           {kMax, kDenormal},
                                           {-kMax, kDenormal},
                                           {kNan, kInf, -kInf, 1}}) {
    const ExactSum sum = SumOf(terms);
    const absl::StatusOr<ExactSum> again = ExactSum::FromPortable(sum.ToPortable());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == sum);
  }
}

TEST(ExactSumPortable, HostileFormsAreRefused) {
  using Bytes = decltype(ExactSum::Portable::magnitude);
  const auto bytes = [](size_t count, int value) { return Bytes(count, std::byte(value)); };
  constexpr int kMinInt = std::numeric_limits<int>::min();
  constexpr int kMaxInt = std::numeric_limits<int>::max();
  const struct {
    const char* name;
    ExactSum::Portable portable;
  } cases[] = {
      {"exponent not a multiple of 32", {.exponent = 1, .magnitude = bytes(1, 1)}},
      {"exponent too low", {.exponent = -1120, .magnitude = bytes(1, 1)}},
      {"exponent too high", {.exponent = 1056, .magnitude = bytes(1, 1)}},
      {"exponent least int", {.exponent = kMinInt, .magnitude = bytes(1, 1)}},
      {"exponent greatest int", {.exponent = kMaxInt, .magnitude = bytes(1, 1)}},
      {"exponent of an empty sum", {.exponent = 32, .magnitude = {}}},
      {"too many bytes", {.exponent = -1088, .magnitude = bytes(281, 1)}},
      {"far too many bytes", {.exponent = 0, .magnitude = bytes(1 << 20, 1)}},
      {"beyond the top digit", {.exponent = 1024, .magnitude = bytes(200, 1)}},
      {"zero written out", {.exponent = 0, .magnitude = bytes(1, 0)}},
      {"leading zero", {.exponent = 0, .magnitude = {std::byte{1}, std::byte{0}}}},
      {"leading sign", {.exponent = 0, .magnitude = {std::byte{0xfe}, std::byte{0xff}}}},
      {"low zero digits", {.exponent = 0, .magnitude = {{}, {}, {}, {}, std::byte{1}}}},
      {"negative count of NaN", {.magnitude = {}, .nan_terms = -1}},
      {"negative count of +inf", {.magnitude = {}, .positive_infinities = -1}},
      {"negative count of -inf",
       {.magnitude = {}, .negative_infinities = std::numeric_limits<int64_t>::min()}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ExactSum::FromPortable(c.portable).status().code(),
              absl::StatusCode::kInvalidArgument)
        << c.name;
  }
}

// Whatever FromPortable accepts can be used: random bytes never break a later sum.
TEST(ExactSumPortable, WhatIsAcceptedCanBeSummed) {
  Random random(14);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    ExactSum::Portable portable;
    portable.exponent = 32 * (static_cast<int>(random.Below(68)) - 34);
    portable.magnitude.resize(random.Below(random.OneIn(4) ? 282 : 40));
    for (std::byte& b : portable.magnitude) {
      b = static_cast<std::byte>(random.OneIn(3) ? 255 * random.Below(2) : random.Below(256));
    }
    absl::StatusOr<ExactSum> sum = ExactSum::FromPortable(portable);
    if (!sum.ok()) continue;
    ++accepted;
    EXPECT_EQ(sum->ToPortable(), portable);
    for (int i = 0; i < 20; ++i) sum->Merge(*sum);
    sum->Round();
  }
  EXPECT_GT(accepted, 1000);
}

// Counts that a hostile peer sends are added without overflow.
TEST(ExactSumPortable, HugeCountsMerge) {
  ExactSum::Portable portable;
  portable.nan_terms = std::numeric_limits<int64_t>::max();
  absl::StatusOr<ExactSum> sum = ExactSum::FromPortable(portable);
  if (!sum.ok()) return;  // refusing them is as good
  sum->Merge(*sum);
  EXPECT_TRUE(std::isnan(sum->Round()));
}

}  // namespace
}  // namespace lossd::oracle
