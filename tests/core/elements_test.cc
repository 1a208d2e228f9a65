// The heads of element losses and what is around them, on every target, against long double.

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/kernels/kernels.h"
#include "core/kernels/narrow.h"
#include "core/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/support/random.h"
#include "tests/support/real.h"

namespace lossd::oracle {
namespace {

using kernels::kGroup;

constexpr double kInf = std::numeric_limits<double>::infinity();

// Runs the body on every target this CPU has.
template <class Body>
void OnEveryTarget(Body body) {
  const std::string active = kernels::ActiveTarget();
  for (const std::string& target : kernels::SupportedTargets()) {
    SCOPED_TRACE(target);
    ASSERT_TRUE(kernels::ForceTarget(target));
    body();
  }
  ASSERT_TRUE(kernels::ForceTarget(active));
}

struct ElementLoss {
  int head;
  Real (*loss)(Real x, Real t);
  Real (*slope)(Real x, Real t);
};
constexpr int kSquaredErrorHead = 3;
const ElementLoss kSquaredError = {kSquaredErrorHead,
                                   [](Real x, Real t) { return (x - t) * (x - t); },
                                   [](Real x, Real t) { return 2 * (x - t); }};

template <class C>
kernels::ElementArrays ArraysOf(const std::vector<C>& x, const std::vector<C>& t,
                                const double* options, int64_t count, std::vector<double>& loss,
                                std::vector<C>& slope) {
  return {.x = x.data(),
          .t = t.data(),
          .second = nullptr,
          .extras = nullptr,
          .options = options,
          .count = count,
          .loss = loss.data(),
          .slope = slope.data(),
          .second_slope = nullptr,
          .event = nullptr};
}

template <class C>
void ExpectHead(const ElementLoss& of) {
  constexpr auto kCompute = std::is_same_v<C, float> ? 0 : 1;
  const Real unit = UnitRoundoff(kCompute == 0 ? DType::kF32 : DType::kF64);
  const Real double_unit = UnitRoundoff(DType::kF64);
  Random random(kCompute);
  for (const int64_t count : {1, 15, 16, 17, 100}) {
    std::vector<C> x(count + kGroup);
    std::vector<C> t(count + kGroup);
    for (int64_t i = 0; i < count; ++i) {
      const Real scale = random.Pick<Real>({1e-25L, 1e-3L, 1, 1e6L, 1e25L});
      x[i] = static_cast<C>(scale * random.Uniform(-4, 4));
      t[i] =
          random.OneIn(3) ? x[i] * static_cast<C>(1 + 1e-3) : static_cast<C>(random.Uniform(-4, 4));
    }
    std::vector<double> loss(count + kGroup);
    std::vector<C> slope(count + kGroup);
    kernels::Active().elements[of.head].body[kCompute](ArraysOf(x, t, nullptr, count, loss, slope));
    for (int64_t i = 0; i < count; ++i) {
      const Real want_loss = of.loss(x[i], t[i]);
      const Real want_slope = of.slope(x[i], t[i]);
      EXPECT_LE(std::fabs(loss[i] - want_loss), 16 * double_unit * std::fabs(want_loss))
          << x[i] << " " << t[i] << " LOSSD_TEST_SEED=" << TestSeed();
      EXPECT_LE(std::fabs(slope[i] - want_slope), 16 * unit * std::fabs(want_slope))
          << x[i] << " " << t[i] << " LOSSD_TEST_SEED=" << TestSeed();
    }
  }
}

TEST(Elements, SquaredError) {
  OnEveryTarget([] {
    ASSERT_EQ(kernels::Active().element_heads, static_cast<int>(kElementLosses.size()));
    ExpectHead<float>(kSquaredError);
    ExpectHead<double>(kSquaredError);
  });
}

TEST(Elements, SquaredErrorOfInfinities) {
  OnEveryTarget([] {
    std::vector<double> x(3 + kGroup);
    std::vector<double> t(3 + kGroup);
    std::vector<double> loss(3 + kGroup);
    std::vector<double> slope(3 + kGroup);
    x[0] = t[1] = x[2] = t[2] = kInf;
    kernels::Active().elements[kSquaredErrorHead].body[1](ArraysOf(x, t, nullptr, 3, loss, slope));
    EXPECT_EQ(loss[0], kInf);
    EXPECT_EQ(loss[1], kInf);
    EXPECT_EQ(slope[0], kInf);
    EXPECT_EQ(slope[1], -kInf);
    EXPECT_TRUE(std::isnan(loss[2]) && std::isnan(slope[2]));
  });
}

// slope * a in every format, wherever in a line of the cache it begins; nothing around it is
// written, and no -0.
template <class C>
void ExpectScaled(kernels::Real real, DType dtype) {
  constexpr auto kCompute = std::is_same_v<C, float> ? 0 : 1;
  constexpr int64_t kCount = 77;
  constexpr int64_t kLine = 64;
  Random random(7);
  std::vector<C> slope(kCount + kGroup);
  std::vector<C> a(kCount + kGroup);
  for (int64_t i = 0; i < kCount; ++i) {
    slope[i] = static_cast<C>(random.Uniform(-4, 4));
    a[i] = i % 5 == 0 ? C{0} : static_cast<C>(random.Uniform(-2, 2));
  }
  const int64_t size = SizeOf(dtype);
  for (int64_t offset = 0; offset < kLine; offset += size) {
    for (const bool streaming : {false, true}) {
      std::vector<std::byte> memory(kCount * size + 3 * kLine, std::byte{0x55});
      std::byte* out =
          memory.data() + kLine - reinterpret_cast<uintptr_t>(memory.data()) % kLine + offset;
      kernels::Active().scale_elements[kCompute][static_cast<int>(real)](slope.data(), a.data(),
                                                                         kCount, streaming, out);
      for (int64_t i = 0; i < kCount; ++i) {
        const Real got = Widen(dtype, out + i * size);
        EXPECT_EQ(got, RoundTo(dtype, slope[i] * a[i] + C{0})) << i << " at " << offset;
        EXPECT_FALSE(got == 0 && std::signbit(got)) << i;
      }
      for (std::byte* b = memory.data(); b != memory.data() + memory.size(); ++b) {
        const bool outside = b < out || b >= out + kCount * size;
        EXPECT_TRUE(!outside || *b == std::byte{0x55}) << b - out;
      }
    }
  }
}

TEST(Elements, AreScaledIntoEveryFormat) {
  OnEveryTarget([] {
    ExpectScaled<float>(kernels::Real::kF32, DType::kF32);
    ExpectScaled<float>(kernels::Real::kF64, DType::kF64);
    ExpectScaled<float>(kernels::Real::kF16, DType::kF16);
    ExpectScaled<float>(kernels::Real::kBF16, DType::kBF16);
    ExpectScaled<double>(kernels::Real::kF32, DType::kF32);
    ExpectScaled<double>(kernels::Real::kF64, DType::kF64);
    ExpectScaled<double>(kernels::Real::kF16, DType::kF16);
    ExpectScaled<double>(kernels::Real::kBF16, DType::kBF16);
  });
}

}  // namespace
}  // namespace lossd::oracle
