// One option at a time, on tensors large enough for every kernel body to run whole vectors and a
// tail, against the oracle.
#include <cmath>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

// Each row changes one thing about a case. The kinds of targets and losses it is for are told by
// what it returns: false where the option does not apply.
struct OptionCase {
  const char* name;
  bool (*apply)(LossCase&, Random&);
};

bool HasIndices(const LossCase& c) { return c.target_kind == TargetKind::kClassIndices; }

void AddZeroWeights(LossCase& c) {
  c.class_weights = OwnedTensor::Make(DType::kF32, {c.predictions.desc.shape[1]}, Layout::kRowMajor,
                                      [](int64_t k) { return k % 2; });
}

// Element of position p and class k.
int64_t ElementAt(const LossCase& c, int64_t p, int64_t k) {
  const std::vector<int64_t>& shape = c.predictions.desc.shape;
  const int64_t inner = shape.size() > 2 ? shape[2] : 1;
  return (p / inner * shape[1] + k) * inner + p % inner;
}

// A row with a NaN, one with +inf, one of -inf alone, one with the class after the label masked,
// and one with the label masked.
void AddStrangeLogits(LossCase& c) {
  const int64_t classes = c.predictions.desc.shape[1];
  const Real infinity = std::numeric_limits<Real>::infinity();
  const auto label = [&](int64_t p) {
    return HasIndices(c) ? static_cast<int64_t>(c.targets.at(p)) : 1;
  };
  c.predictions.set(ElementAt(c, 1, 2), std::numeric_limits<Real>::quiet_NaN());
  c.predictions.set(ElementAt(c, 2, 3), infinity);
  for (int64_t k = 0; k < classes; ++k) c.predictions.set(ElementAt(c, 3, k), -infinity);
  c.predictions.set(ElementAt(c, 4, (label(4) + 1) % classes), -infinity);
  c.predictions.set(ElementAt(c, 5, label(5)), -infinity);
}

// Rows of which one class, the label's or another, has almost everything.
void AddCertainRows(LossCase& c, Random& random) {
  for (int64_t p = 6; p < 16; ++p) {
    const bool label = HasIndices(c) && p % 3 != 0;
    const auto k = label ? static_cast<int64_t>(c.targets.at(p)) : 2;
    c.predictions.set(ElementAt(c, p, k), random.Uniform(10, 60));
  }
}

// Some classes are masked, one of them with a NaN among its logits.
void AddBias(LossCase& c, Random& random) {
  const int64_t classes = c.predictions.desc.shape[1];
  c.class_bias = OwnedTensor::Make(
      random.Pick({DType::kF64, DType::kF32}), {classes}, Layout::kRowMajor, [&](int64_t k) {
        return k % 7 == 6 ? -std::numeric_limits<Real>::infinity() : random.Uniform(-6, 3);
      });
  c.predictions.set(ElementAt(c, 0, 6), std::numeric_limits<Real>::quiet_NaN());
}

const OptionCase kOptions[] = {
    {"defaults", [](LossCase&, Random&) { return true; }},
    {"smoothing_0.1", [](LossCase& c, Random&) { return c.spec.label_smoothing = 0.1, true; }},
    {"smoothing_near_1",
     [](LossCase& c, Random&) { return c.spec.label_smoothing = 1 - 0x1p-52, true; }},
    {"smoothing_1", [](LossCase& c, Random&) { return c.spec.label_smoothing = 1, true; }},
    {"smoothing_tiny", [](LossCase& c, Random&) { return c.spec.label_smoothing = 1e-300, true; }},
    {"ignore_one_class",
     [](LossCase& c, Random&) { return c.spec.ignore_labels = {3}, HasIndices(c); }},
    {"ignore_most_of_64",
     [](LossCase& c, Random&) {
       for (int64_t k = -32; k < 32; ++k) c.spec.ignore_labels.push_back(k);
       return HasIndices(c) && c.predictions.desc.shape[1] > 32;
     }},
    {"ignore_out_of_range",
     [](LossCase& c, Random& random) {
       c.spec.ignore_labels = {-100, 255, std::numeric_limits<int64_t>::min()};
       for (int64_t i = 0; i < c.targets.size(); ++i) {
         if (HasIndices(c) && random.OneIn(3)) c.targets.set(i, random.Pick({-100, 255}));
       }
       return HasIndices(c);
     }},
    {"position_weights",
     [](LossCase& c, Random& random) {
       c.position_weights = PerPosition(c, DType::kF64, 0, 3, random);
       c.position_weights->set(0, 0);
       c.position_weights->set(1, -0.0L);
       c.position_weights->set(2, 1e-300L);
       c.position_weights->set(3, 1e30L);
       return true;
     }},
    {"upstream_gradient",
     [](LossCase& c, Random& random) {
       c.upstream_gradient = PerPosition(c, DType::kBF16, -3, 3, random);
       c.upstream_gradient->set(0, 0);
       c.upstream_gradient->set(1, -0.0L);
       return true;
     }},
    {"class_weights_with_zeros",
     [](LossCase& c, Random& random) {
       const int64_t classes = c.predictions.desc.shape[1];
       c.class_weights = OwnedTensor::Make(
           DType::kF32, {classes}, Layout::kRowMajor,
           [&](int64_t k) { return k % 3 == 1 ? Real(0) : random.Uniform(0, 5); });
       return true;
     }},
    {"class_weights_of_all_sizes",
     [](LossCase& c, Random& random) {
       c.class_weights =
           OwnedTensor::Make(DType::kF64, c.predictions.desc.shape, Layout::kRowMajor,
                             [&](int64_t) { return std::pow(Real(10), random.Uniform(-12, 12)); });
       return true;
     }},
    // Coefficients beyond the range of f32, which f64 predictions are for.
    {"class_weights_beyond_f32",
     [](LossCase& c, Random& random) {
       const Real size = random.Pick({1e60L, 1e-60L});
       c.class_weights =
           OwnedTensor::Make(DType::kF64, {c.predictions.desc.shape[1]}, Layout::kRowMajor,
                             [&](int64_t) { return size * random.Uniform(1, 2); });
       c.spec.weight_normalization = WeightNormalization::kNone;
       return c.predictions.desc.dtype == DType::kF64;
     }},
    {"denominator_beyond_f32",
     [](LossCase& c, Random&) {
       c.spec.reduction = Reduction::kGiven;
       c.spec.denominator = 1e-60;
       return c.predictions.desc.dtype == DType::kF64;
     }},
    {"smoothing_and_zero_weights",
     [](LossCase& c, Random&) {
       c.class_weights = OwnedTensor::Make(DType::kF32, {c.predictions.desc.shape[1]},
                                           Layout::kRowMajor, [](int64_t k) { return k % 2; });
       c.spec.label_smoothing = 0.25;
       return true;
     }},
    {"loss_weight", [](LossCase& c, Random&) { return c.spec.loss_weight = 0.3, true; }},
    {"loss_weight_0", [](LossCase& c, Random&) { return c.spec.loss_weight = 0, true; }},
    {"loss_weight_huge", [](LossCase& c, Random&) { return c.spec.loss_weight = 1e30, true; }},
    {"scale_negative", [](LossCase& c, Random&) { return c.spec.gradient_scale = -0.7, true; }},
    {"scale_power_of_two",
     [](LossCase& c, Random&) { return c.spec.gradient_scale = 65536, true; }},
    {"scale_0", [](LossCase& c, Random&) { return c.spec.gradient_scale = 0, true; }},
    {"scale_tiny", [](LossCase& c, Random&) { return c.spec.gradient_scale = 1e-40, true; }},
    {"log_floor",
     [](LossCase& c, Random&) { return c.spec.loss = SoftmaxLoss{.log_floor = 0.02}, true; }},
    {"lse_square_scale",
     [](LossCase& c, Random&) {
       c.spec.loss = SoftmaxLoss{.lse_square_scale = 0.25};
       return true;
     }},
    {"lse_square_scale_with_floor_and_zero_weights",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.log_floor = 0.02, .lse_square_scale = 1e-4};
       AddZeroWeights(c);
       if (random.OneIn(2)) c.spec.label_smoothing = 0.25;
       AddStrangeLogits(c);
       return true;
     }},
    {"focal_gamma_2",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.focal_gamma = 2};
       AddCertainRows(c, random);
       return HasIndices(c);
     }},
    {"focal_gamma_below_1",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.focal_gamma = 0.3};
       AddCertainRows(c, random);
       AddStrangeLogits(c);
       return HasIndices(c);
     }},
    {"focal_gamma_0_with_floor_and_zero_weights",
     [](LossCase& c, Random&) {
       c.spec.loss = SoftmaxLoss{.log_floor = 0.02, .focal_gamma = 0};
       AddZeroWeights(c);
       AddStrangeLogits(c);
       return HasIndices(c);
     }},
    {"focal_gamma_large_with_lse_square_scale",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.lse_square_scale = 1e-3, .focal_gamma = 17.5};
       AddCertainRows(c, random);
       AddZeroWeights(c);
       return HasIndices(c);
     }},
    {"soft_cap",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.soft_cap = 5};
       AddCertainRows(c, random);
       AddStrangeLogits(c);
       return true;
     }},
    {"soft_cap_far_above_the_logits",
     [](LossCase& c, Random&) {
       c.spec.loss = SoftmaxLoss{.soft_cap = 3000};
       return true;
     }},
    {"soft_cap_without_bounds",
     [](LossCase& c, Random&) {
       c.spec.loss = SoftmaxLoss{.soft_cap = 1e305};
       return true;
     }},
    {"temperature",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.temperature = 0.3};
       AddCertainRows(c, random);
       AddStrangeLogits(c);
       return true;
     }},
    {"temperature_large_with_smoothing",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.temperature = 40};
       c.spec.label_smoothing = 0.1;
       AddCertainRows(c, random);
       return true;
     }},
    {"class_bias",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{};
       AddBias(c, random);
       AddCertainRows(c, random);
       AddStrangeLogits(c);
       return true;
     }},
    {"class_bias_with_all_of_softmax",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{
           .lse_square_scale = 1e-2, .soft_cap = 6, .temperature = 0.7, .entropy_bonus = 0.2};
       AddBias(c, random);
       AddCertainRows(c, random);
       return true;
     }},
    {"entropy_bonus",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.entropy_bonus = 0.5};
       AddCertainRows(c, random);
       AddStrangeLogits(c);
       AddZeroWeights(c);
       return true;
     }},
    {"all_of_softmax",
     [](LossCase& c, Random& random) {
       c.spec.loss = SoftmaxLoss{.log_floor = 0.02,
                                 .lse_square_scale = 1e-2,
                                 .soft_cap = 6,
                                 .temperature = 0.7,
                                 .entropy_bonus = 0.2};
       if (HasIndices(c)) std::get<SoftmaxLoss>(c.spec.loss).focal_gamma = 1.5;
       AddZeroWeights(c);
       AddCertainRows(c, random);
       AddStrangeLogits(c);
       return true;
     }},
    {"log_epsilon_0",
     [](LossCase& c, Random&) {
       c.spec.loss = MultinomialLogisticLoss{.log_epsilon = 0};
       return true;
     }},
    {"log_epsilon_large",
     [](LossCase& c, Random&) {
       c.spec.loss = MultinomialLogisticLoss{.log_epsilon = 0.5};
       return true;
     }},
    {"log_epsilon_below_f32",
     [](LossCase& c, Random&) {
       c.spec.loss = MultinomialLogisticLoss{.log_epsilon = 1e-300};
       return true;
     }},
    {"given_denominator",
     [](LossCase& c, Random&) {
       c.spec.reduction = Reduction::kGiven;
       c.spec.denominator = 12345.678;
       return true;
     }},
    {"tiny_denominator",
     [](LossCase& c, Random&) {
       c.spec.reduction = Reduction::kGiven;
       c.spec.denominator = 1e-30;
       return true;
     }},
};

class OptionsTest : public ::testing::TestWithParam<OptionCase> {
 protected:
  static void TearDownTestSuite() { TestLedger().Print(); }
};

TEST_P(OptionsTest, AgreesWithTheOracle) {
  Random random(2000);
  for (const Loss& loss : kLosses) {
    for (const DType dtype : kFloatDTypes) {
      for (const std::vector<int64_t>& shape : BothKernelShapes()) {
        for (const TargetKind kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
          LossCase c = TypicalCase(loss, dtype, shape, kind, random);
          if (!GetParam().apply(c, random) || c.spec.loss.index() != loss.index()) continue;
          ExpectAgreement(c, GetParam().name);
          c.spec.reduction = Reduction::kWeightSum;
          c.spec.denominator.reset();
          ExpectAgreement(c, GetParam().name);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EachOption, OptionsTest, ::testing::ValuesIn(kOptions),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return name;
                         });

TEST(GradientDType, AllSixteenPairs) {
  Random random(2001);
  for (const Loss& loss : kLosses) {
    for (const DType in : kFloatDTypes) {
      for (const DType out : kFloatDTypes) {
        for (const std::vector<int64_t>& shape : BothKernelShapes()) {
          LossCase c = TypicalCase(loss, in, shape, TargetKind::kClassIndices, random);
          c.spec.gradient_dtype = out;
          ExpectAgreement(c);
          c.spec.gradient_scale = 1e6;  // beyond f16
          ExpectAgreement(c);
          c.spec.gradient_scale = 1e-6;  // denormal in f16, then 0
          ExpectAgreement(c);
        }
      }
    }
  }
}

// Almost every f16 and bf16 entry is the oracle's value rounded to nearest.
TEST(GradientDType, NarrowOutputsAreRoundedOnceToNearest) {
  Random random(2002);
  for (const DType in : kFloatDTypes) {
    for (const DType out : {DType::kF16, DType::kBF16}) {
      LossCase c = PlainCase(SoftmaxLoss{}, in, 300, 40, random);
      c.spec.gradient_dtype = out;
      c.spec.reduction = Reduction::kSum;
      const Answer oracle = Compute(c.spec, c.inputs());
      const CoreAnswer core = RunCore(c);
      ASSERT_TRUE(core.status.ok()) << core.status;
      int exact = 0;
      for (int64_t i = 0; i < c.predictions.size(); ++i) {
        const Real got = Widen(out, core.outputs.gradient.bytes().data() + 2 * i);
        exact += got == RoundTo(out, oracle.gradient.values[i]) ? 1 : 0;
      }
      EXPECT_GE(exact, c.predictions.size() * 0.995)
          << Name(in) << " to " << Name(out) << ", LOSSD_TEST_SEED=" << TestSeed();
    }
  }
}

TEST(GradientScale, PowersOfTwoScaleTheBitsOfNormalNumbers) {
  Random random(2003);
  for (const Loss& loss : kLosses) {
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      LossCase c = PlainCase(loss, dtype, 40, 21, random);
      const CoreAnswer plain = RunCore(c);
      c.spec.gradient_scale = -0x1p10;
      const CoreAnswer scaled = RunCore(c);
      const int64_t size = SizeOf(dtype);
      for (int64_t i = 0; i < c.predictions.size(); ++i) {
        const Real before = Widen(dtype, plain.outputs.gradient.bytes().data() + size * i);
        const Real after = Widen(dtype, scaled.outputs.gradient.bytes().data() + size * i);
        ASSERT_EQ(after, before * -1024) << NameOf(loss) << " element " << i;
      }
      EXPECT_EQ(plain.result.loss, scaled.result.loss);
    }
  }
}

}  // namespace
}  // namespace lossd::oracle
