// The tools of the other tests can fail.
#include "tests/core/matchers.h"
#include "tests/support/oracle.h"

#include <cstring>
#include <limits>

#include "gtest/gtest.h"
#include "tests/core/core_run.h"
#include "tests/core/guarded_buffer.h"

namespace lossd::oracle {
namespace {

using ::testing::Not;

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

TEST(NearWithin, AcceptsUpToTheBoundAndNoFurther) {
  EXPECT_THAT(Real(1.5), NearWithin(Real(1), Real(0.5)));
  EXPECT_THAT(Real(0.5), NearWithin(Real(1), Real(0.5)));
  EXPECT_THAT(Real(1.5625), Not(NearWithin(Real(1), Real(0.5))));
  EXPECT_THAT(Real(0.4375), Not(NearWithin(Real(1), Real(0.5))));
}

TEST(NearWithin, ZeroOrNanIsNothingElse) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  EXPECT_THAT(Real(0), NearWithin(Real(0), kZeroOrNan));
  EXPECT_THAT(nan, NearWithin(Real(0), kZeroOrNan));
  EXPECT_THAT(Real(-0.0), Not(NearWithin(Real(0), kZeroOrNan)));
  EXPECT_THAT(Real(1), Not(NearWithin(Real(0), kZeroOrNan)));
}

TEST(NearWithin, BoundZeroIsEquality) {
  EXPECT_THAT(Real(1), NearWithin(Real(1), Real(0)));
  EXPECT_THAT(std::nextafter(Real(1), Real(2)), Not(NearWithin(Real(1), Real(0))));
  EXPECT_THAT(Real(0), NearWithin(Real(0), Real(0)));
  EXPECT_THAT(Real(-0.0), Not(NearWithin(Real(0), Real(0))));
}

TEST(NearWithin, NanAndInfinitiesAnswerToThemselvesAlone) {
  EXPECT_THAT(kNan, NearWithin(kNan, Real(0)));
  EXPECT_THAT(Real(0), Not(NearWithin(kNan, kInf)));
  EXPECT_THAT(kNan, Not(NearWithin(Real(0), kInf)));
  EXPECT_THAT(kInf, NearWithin(kInf, Real(0)));
  EXPECT_THAT(-kInf, Not(NearWithin(kInf, kInf)));
  EXPECT_THAT(Real(1e300), Not(NearWithin(kInf, kInf)));
  EXPECT_THAT(kInf, Not(NearWithin(Real(1), Real(1))));
  EXPECT_THAT(Real(1), Not(NearWithin(Real(1.5), kNan)));
}

TEST(ErrorRatio, AnInfinityStandsForWhatTheDTypeCannotHold) {
  EXPECT_EQ(ErrorRatio(kInf, 70000, 1, DType::kF16), 0);
  EXPECT_GT(ErrorRatio(-kInf, 70000, 1, DType::kF16), 1);
  EXPECT_GT(ErrorRatio(kInf, 65504, 1, DType::kF16), 1);
  EXPECT_GT(ErrorRatio(kInf, 70000, 1, DType::kBF16), 1);
}

TEST(SameBits, SeesOneBitAndOneByte) {
  const double a[2] = {1, 0.0};
  const double b[2] = {1, -0.0};
  const auto bytes = [](const double* p, size_t n) {
    return ByteSpan(reinterpret_cast<const std::byte*>(p), n * sizeof(double));
  };
  EXPECT_THAT(bytes(a, 2), SameBits(bytes(a, 2)));
  EXPECT_THAT(bytes(a, 2), Not(SameBits(bytes(b, 2))));
  EXPECT_THAT(bytes(a, 1), Not(SameBits(bytes(a, 2))));
}

TEST(GuardedBuffer, ShowsWritesOnBothSidesAndWhatWasNotWritten) {
  GuardedBuffer buffer(16, 3);
  EXPECT_TRUE(buffer.intact());
  EXPECT_TRUE(std::isnan(Widen(DType::kF64, buffer.bytes().data())));
  EXPECT_TRUE(std::isnan(Widen(DType::kF16, buffer.bytes().data())));
  EXPECT_TRUE(std::isnan(Widen(DType::kBF16, buffer.bytes().data())));
  buffer.span()[0] = std::byte{0};
  buffer.span()[15] = std::byte{0};
  EXPECT_TRUE(buffer.intact());

  GuardedBuffer before(16);
  before.span().data()[-1] = std::byte{0};
  EXPECT_FALSE(before.intact());
  GuardedBuffer after(16);
  after.span().data()[16] = std::byte{0};
  EXPECT_FALSE(after.intact());
}

// A correct answer, made from the oracle itself, to be spoilt field by field.
struct Forged {
  LossCase loss_case;
  CoreAnswer core;

  Forged() {
    loss_case.predictions = OwnedTensor::Of(DType::kF64, {2, 3}, {1, 2, 3, 0.5, -1, 0});
    loss_case.targets = OwnedTensor::Of(DType::kI32, {2}, {2, 0});
    loss_case.spec.outputs = AllOutputs(loss_case.spec.loss);
    const Answer truth = Compute(loss_case.spec, loss_case.inputs());
    core.outputs = CoreOutputs::For(loss_case);
    const auto fill = [](GuardedBuffer& buffer, const std::vector<Real>& values) {
      for (size_t i = 0; i < values.size(); ++i) {
        Store(DType::kF64, values[i], buffer.span().data() + 8 * i);
      }
    };
    fill(core.outputs.gradient, truth.gradient.values);
    fill(core.outputs.position_losses, truth.position_losses.values);
    fill(core.outputs.log_sum_exp, truth.log_sum_exp.values);
    fill(core.outputs.probabilities, truth.probabilities.values);
    fill(core.outputs.label_log_probabilities, truth.label_log_probabilities.values);
    fill(core.outputs.entropy, truth.entropy.values);
    for (size_t i = 0; i < truth.ranks.size(); ++i) {
      const auto rank = static_cast<int32_t>(truth.ranks[i]);
      std::memcpy(core.outputs.label_rank.span().data() + i * sizeof(rank), &rank, sizeof(rank));
    }
    for (size_t i = 0; i < truth.hits.size(); ++i) {
      core.outputs.argmax_hits.span()[i] = static_cast<std::byte>(truth.hits[i]);
      core.result.exact.loss_sum.Add(static_cast<double>(truth.position_losses.values[i]));
      core.result.exact.weight_sum.Add(1);
    }
    core.result.loss_sum = core.result.exact.loss_sum.Round();
    core.result.weight_sum = 2;
    core.result.denominator = 2;
    core.result.loss = core.result.loss_sum / 2;
    core.result.position_count = 2;
    core.result.valid_count = 2;
    core.result.correct_count = 2;
  }
  std::string disagreement() const { return Disagreement(loss_case, core); }
};

TEST(Disagreement, NoneWithATrueAnswer) { EXPECT_EQ(Forged().disagreement(), ""); }

TEST(Disagreement, SeesEveryField) {
  const auto spoilt = [](auto&& spoil) {
    Forged forged;
    spoil(forged.core);
    return forged.disagreement();
  };
  const auto nudge = [](double& value) { value = std::nextafter(value, 1e9); };
  const auto nudge_far = [](double& value) { value *= 1 + 1e-13; };
  EXPECT_NE(spoilt([&](CoreAnswer& a) { nudge(a.result.loss); }), "");
  EXPECT_NE(spoilt([&](CoreAnswer& a) { nudge(a.result.loss_sum); }), "");
  EXPECT_NE(spoilt([&](CoreAnswer& a) { nudge(a.result.weight_sum); }), "");
  EXPECT_NE(spoilt([&](CoreAnswer& a) { nudge_far(a.result.denominator); }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { ++a.result.position_count; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { --a.result.valid_count; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { ++a.result.ignored_count; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { ++a.result.clamped_count; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { ++a.result.nonfinite_count; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { a.result.correct_count = 1; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { a.result.correct_count.reset(); }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { a.status = absl::InternalError("no"); }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { a.outputs.argmax_hits.span()[1] = std::byte{0}; }), "");
  EXPECT_NE(spoilt([](CoreAnswer& a) { a.outputs.gradient.span().data()[48] = std::byte{1}; }), "");
  for (GuardedBuffer CoreOutputs::*output :
       {&CoreOutputs::gradient, &CoreOutputs::position_losses, &CoreOutputs::log_sum_exp,
        &CoreOutputs::probabilities, &CoreOutputs::label_log_probabilities,
        &CoreOutputs::entropy}) {
    EXPECT_NE(spoilt([&](CoreAnswer& a) {
                std::byte* first = (a.outputs.*output).span().data();
                Store(DType::kF64, Widen(DType::kF64, first) * (1 + Real(1e-13)), first);
              }),
              "");
  }
}

TEST(BitDifference, SeesTheLastBitOfEveryOutput) {
  Forged forged;
  EXPECT_EQ(BitDifference(forged.core, forged.core), "");
  for (GuardedBuffer CoreOutputs::*output :
       {&CoreOutputs::gradient, &CoreOutputs::position_losses, &CoreOutputs::log_sum_exp,
        &CoreOutputs::probabilities, &CoreOutputs::argmax_hits,
        &CoreOutputs::label_log_probabilities, &CoreOutputs::entropy, &CoreOutputs::label_rank}) {
    CoreAnswer other = forged.core;
    (other.outputs.*output).span().back() ^= std::byte{1};
    EXPECT_NE(BitDifference(forged.core, other), "");
  }
  CoreAnswer other = forged.core;
  other.result.exact.loss_sum.Add(5e-324);
  EXPECT_NE(BitDifference(forged.core, other), "");
}

}  // namespace
}  // namespace lossd::oracle
