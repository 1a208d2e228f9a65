// Every f16 and bf16 number through the core, in both directions.
#include <cmath>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"

namespace lossd::oracle {
namespace {

constexpr int64_t kPatterns = 65536;
constexpr Real kInf = std::numeric_limits<Real>::infinity();

class Conversions : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }

  // One class, so that the nll loss of row i is minus its prediction, and the gradient of row i
  // minus its upstream gradient.
  LossCase Negation(DType predictions, int64_t rows) const {
    LossCase c;
    c.spec.loss = NllLoss{};
    c.spec.reduction = Reduction::kSum;
    c.spec.outputs.position_losses = true;
    c.predictions = OwnedTensor::Make(predictions, {rows, 1}, Layout::kRowMajor,
                                      [](int64_t) { return Real(-1); });
    c.targets =
        OwnedTensor::Make(DType::kU8, {rows}, Layout::kRowMajor, [](int64_t) { return Real(0); });
    return c;
  }

  // The number with this bit pattern.
  Real Number(int64_t pattern) const {
    const auto bits = static_cast<uint16_t>(pattern);
    return Widen(dtype(), reinterpret_cast<const std::byte*>(&bits));
  }
};

TEST_P(Conversions, EveryPatternIsReadExactly) {
  LossCase c = Negation(dtype(), kPatterns);
  for (int64_t i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    std::memcpy(c.predictions.bytes.data() + 2 * i, &bits, 2);
  }
  const CoreAnswer core = RunCore(c);
  ASSERT_TRUE(core.status.ok()) << core.status;
  for (int64_t i = 0; i < kPatterns; ++i) {
    const Real x = Number(i);
    const Real got = Widen(DType::kF64, core.outputs.position_losses.bytes().data() + 8 * i);
    if (std::isnan(x) || x == kInf) {
      ASSERT_TRUE(std::isnan(got)) << "pattern " << i;
    } else {
      ASSERT_EQ(got, -x) << "pattern " << i;
    }
  }
}

// f64 values at every number, half way to the next, and on both sides of half way, where rounding
// to f32 on the way would go wrong.
TEST_P(Conversions, EveryPatternIsWrittenRoundedOnceToNearestEven) {
  std::vector<Real> values;
  for (int64_t i = 0; i < kPatterns; ++i) {
    const Real x = Number(i);
    if (!std::isfinite(x)) continue;
    const Real half = x + std::copysign(HalfUlp(dtype(), x), x);
    values.insert(values.end(), {x, half, half * (1 - 0x1p-50L), half * (1 + 0x1p-50L)});
  }
  const auto rows = static_cast<int64_t>(values.size());
  LossCase c = Negation(DType::kF64, rows);
  c.spec.gradient_dtype = dtype();
  c.upstream_gradient = OwnedTensor::Make(DType::kF64, {rows}, Layout::kRowMajor,
                                          [&](int64_t i) { return values[i]; });
  const CoreAnswer core = RunCore(c);
  ASSERT_TRUE(core.status.ok()) << core.status;
  for (int64_t i = 0; i < rows; ++i) {
    const Real got = Widen(dtype(), core.outputs.gradient.bytes().data() + 2 * i);
    ASSERT_EQ(got, RoundTo(dtype(), -values[i])) << "of " << static_cast<double>(values[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(NarrowDTypes, Conversions, ::testing::Values(DType::kF16, DType::kBF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

// The same into f32, at random.
TEST(Conversions, F64IsWrittenAsF32RoundedOnce) {
  Random random(5000);
  const int64_t rows = 20000;
  LossCase c = PlainCase(NllLoss{}, DType::kF64, rows, 1, random);
  c.spec.reduction = Reduction::kSum;
  c.spec.gradient_dtype = DType::kF32;
  c.upstream_gradient = OwnedTensor::Make(DType::kF64, {rows}, Layout::kRowMajor, [&](int64_t) {
    return std::ldexp(random.Uniform(-1, 1), static_cast<int>(random.Below(290)) - 155);
  });
  const CoreAnswer core = RunCore(c);
  ASSERT_TRUE(core.status.ok()) << core.status;
  for (int64_t i = 0; i < rows; ++i) {
    const Real got = Widen(DType::kF32, core.outputs.gradient.bytes().data() + 4 * i);
    ASSERT_EQ(got, RoundTo(DType::kF32, -c.upstream_gradient->at(i)));
  }
}

}  // namespace
}  // namespace lossd::oracle
