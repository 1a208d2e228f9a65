#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "core/kernels/kernels.h"
#include "core/kernels/targets.h"

// The exponential of float rows, over every float it can be asked for. Takes about a minute a
// target, so it is labelled slow.

namespace lossd::kernels {
namespace {

// What ScaledExp promises (group-inl.h).
constexpr double kRelativeBound = 0x1p-23;
constexpr float kLeast = -103.9F;        // from here up the bound holds
constexpr float kCertainZero = -105.0F;  // from here down the result is 0

struct Worst {
  double ratio = 0;  // error / bound
  float at = 0;
};

// Exponentials of d[0..n), each at most 0, as the row kernel computes them: the row's first element
// is its peak, 0.
class Row {
 public:
  const float* Exponentials(const std::vector<float>& d) {
    x_.assign(1, 0.0F);
    x_.insert(x_.end(), d.begin(), d.end());
    e_.resize(x_.size() + kGroup);
    double chunk_scale = 0;
    double peak = 0;
    double rest = 0;
    Active().reduce_rows[0](x_.data(), 1, static_cast<int64_t>(x_.size()), e_.data(), &chunk_scale,
                            &peak, &rest, /*stop=*/nullptr);
    return e_.data() + 1;
  }

 private:
  std::vector<float> x_;
  std::vector<float> e_;
};

Worst WorstOfAll() {
  constexpr uint32_t kSign = 0x80000000U;
  const uint32_t last = std::bit_cast<uint32_t>(kLeast) & ~kSign;
  Worst worst;
  Row row;
  std::vector<float> d(kChunk - 1);
  for (uint32_t first = 0; first <= last; first += static_cast<uint32_t>(d.size())) {
    for (size_t i = 0; i < d.size(); ++i) {
      const uint32_t magnitude = std::min<uint32_t>(last, first + static_cast<uint32_t>(i));
      d[i] = std::bit_cast<float>(kSign | magnitude);
    }
    const float* e = row.Exponentials(d);
    for (size_t i = 0; i < d.size(); ++i) {
      const double wanted = std::exp(static_cast<double>(d[i])) * 0x1p24;
      const double ratio = std::fabs(e[i] - wanted) / (kRelativeBound * wanted);
      if (!(ratio <= worst.ratio)) worst = {ratio, d[i]};
    }
  }
  return worst;
}

class Exponential : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_TRUE(ForceTarget(GetParam())); }
};

TEST_P(Exponential, OfEveryFloatIsWithinItsBound) {
  const Worst worst = WorstOfAll();
  std::printf("%s: largest error is %.3f of the bound, at %.9g\n", GetParam().c_str(), worst.ratio,
              worst.at);
  EXPECT_LE(worst.ratio, 1.0) << "at " << worst.at;
}

TEST_P(Exponential, IsZeroFarBelow) {
  Row row;
  const std::vector<float> far = {kCertainZero, -110.0F, -1e4F, -3e38F,
                                  -std::numeric_limits<float>::infinity()};
  const float* e = row.Exponentials(far);
  for (size_t i = 0; i < far.size(); ++i) EXPECT_EQ(e[i], 0.0F) << far[i];
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, Exponential, ::testing::ValuesIn(SupportedTargets()));

}  // namespace
}  // namespace lossd::kernels
