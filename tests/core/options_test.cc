// One option at a time, on tensors large enough for every kernel body to run whole vectors and a
// tail, against the oracle.
#include <cmath>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"

namespace lossd::oracle {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

// Both kernel families: classes next to each other in memory, and apart.
std::vector<std::vector<int64_t>> Shapes() { return {{23, 37}, {3, 19, 21}}; }

LossCase Base(const Loss& loss, DType dtype, const std::vector<int64_t>& shape, TargetKind kind,
              Random& random) {
  LossCase c;
  c.spec.loss = loss;
  c.spec.outputs = AllOutputs(loss);
  c.predictions = OwnedTensor::Make(dtype, shape, Layout::kRowMajor,
                                    [&](int64_t) { return TypicalPrediction(loss, random); });
  c.target_kind = kind;
  if (kind == TargetKind::kClassProbabilities) {
    c.targets = OwnedTensor::Make(dtype, shape, Layout::kRowMajor, [&](int64_t) {
      return random.OneIn(3) ? Real(0) : random.Uniform(0, 1);
    });
  } else {
    c.targets = OwnedTensor::Make(DType::kI16, LabelShape(shape, 1, true), Layout::kRowMajor,
                                  [&](int64_t) { return Real(random.Below(shape[1])); });
  }
  return c;
}

OwnedTensor PerPosition(const LossCase& c, DType dtype, Real low, Real high, Random& random) {
  return OwnedTensor::Make(dtype, LabelShape(c.predictions.desc.shape, 1, false), Layout::kRowMajor,
                           [&](int64_t) { return random.Uniform(low, high); });
}

// Each row changes one thing about a case. The kinds of targets and losses it is for are told by
// what it returns: false where the option does not apply.
struct OptionCase {
  const char* name;
  bool (*apply)(LossCase&, Random&);
};

bool HasIndices(const LossCase& c) { return c.target_kind == TargetKind::kClassIndices; }

const OptionCase kOptions[] = {
    {"defaults", [](LossCase&, Random&) { return true; }},
    {"smoothing_0.1", [](LossCase& c, Random&) { return c.spec.label_smoothing = 0.1, true; }},
    {"smoothing_near_1",
     [](LossCase& c, Random&) { return c.spec.label_smoothing = 1 - 0x1p-52, true; }},
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
      for (const std::vector<int64_t>& shape : Shapes()) {
        for (const TargetKind kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
          LossCase c = Base(loss, dtype, shape, kind, random);
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
        for (const std::vector<int64_t>& shape : Shapes()) {
          LossCase c = Base(loss, in, shape, TargetKind::kClassIndices, random);
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

// ---------------------------------------------------------------------------- the policies

TEST(AllIgnored, EveryPolicyUnderEveryReduction) {
  Random random(2010);
  for (const Loss& loss : kLosses) {
    for (int reduction = 1; reduction <= 7; ++reduction) {
      for (const AllIgnoredPolicy policy :
           {AllIgnoredPolicy::kZero, AllIgnoredPolicy::kNan, AllIgnoredPolicy::kError}) {
        LossCase c = PlainCase(loss, DType::kF32, 5, 7, random);
        c.spec.reduction = static_cast<Reduction>(reduction);
        if (c.spec.reduction == Reduction::kGiven) c.spec.denominator = 5;
        c.spec.all_ignored_policy = policy;
        // Ignored, every one; weightless, every one; no positions at all.
        LossCase ignored = c;
        ignored.spec.ignore_labels = {0, 1, 2, 3, 4, 5, 6};
        ExpectAgreement(ignored, "all ignored");
        LossCase weightless = c;
        weightless.position_weights = OwnedTensor::Of(DType::kF32, {5}, {0, 0, 0, 0, 0});
        ExpectAgreement(weightless, "all weights 0");
        LossCase empty = PlainCase(loss, DType::kF32, 0, 7, random);
        empty.spec = c.spec;
        ExpectAgreement(empty, "no positions");
      }
    }
  }
}

// Extents of 0 anywhere but at the classes, with every form of class weights.
TEST(EmptyTensors, AreValidAndLoseNothing) {
  for (const Loss& loss : kLosses) {
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{0, 7}, {0, 7, 5}, {3, 7, 0}, {3, 7, 4, 0}, {0, 7, 0}}) {
      for (const TargetKind kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
        for (int form = 0; form < 4; ++form) {
          Random random(2020);
          LossCase c = Base(loss, DType::kF32, shape, kind, random);
          const std::vector<int64_t> forms[] = {{}, {7}, {shape.begin() + 1, shape.end()}, shape};
          if (form > 0) {
            c.class_weights = OwnedTensor::Make(DType::kF32, forms[form], Layout::kRowMajor,
                                                [](int64_t) { return Real(2); });
          }
          for (int reduction = 1; reduction <= 7; ++reduction) {
            c.spec.reduction = static_cast<Reduction>(reduction);
            c.spec.denominator.reset();
            if (c.spec.reduction == Reduction::kGiven) c.spec.denominator = 2;
            for (const WeightNormalization normalization :
                 {WeightNormalization::kLocal, WeightNormalization::kGlobal,
                  WeightNormalization::kNone}) {
              if (c.class_weights) c.spec.weight_normalization = normalization;
              ExpectAgreement(c);
            }
          }
        }
      }
    }
  }
}

TEST(NonFinite, ErrorNamesThePositionAndPropagateDoesNotSpread) {
  Random random(2011);
  for (const Loss& loss : kLosses) {
    for (const DType dtype : kFloatDTypes) {
      LossCase c = PlainCase(loss, dtype, 20, 33, random);
      c.spec.reduction = Reduction::kSum;
      const CoreAnswer clean = RunCore(c);
      c.predictions.set(13 * 33 + static_cast<int64_t>(c.targets.at(13)), kNan);
      ExpectAgreement(c, "NaN at a label");
      const CoreAnswer spoilt = RunCore(c);
      for (int64_t i = 0; i < 20 * 33; ++i) {
        if (i / 33 == 13) continue;
        const int64_t size = SizeOf(dtype);
        ASSERT_THAT(spoilt.outputs.gradient.bytes().subspan(i * size, size),
                    SameBits(clean.outputs.gradient.bytes().subspan(i * size, size)));
      }
      c.spec.non_finite_policy = NonFinitePolicy::kError;
      const absl::Status status = RunCore(c).status;
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("13"));
      // An ignored row may hold anything.
      c.spec.ignore_labels = {static_cast<int64_t>(c.targets.at(13))};
      ExpectAgreement(c, "NaN at an ignored position");
    }
  }
}

TEST(NonFinite, UpstreamAndTargetsPoisonTheirOwnRowAlone) {
  Random random(2012);
  for (const Loss& loss : kLosses) {
    LossCase c = PlainCase(loss, DType::kF32, 6, 20, random);
    c.upstream_gradient = OwnedTensor::Of(DType::kF32, {6}, {1, 1, kNan, 1, kInf, 1});
    ExpectAgreement(c, "upstream gradient");

    LossCase dense = Base(loss, DType::kF32, {6, 20}, TargetKind::kClassProbabilities, random);
    const CoreAnswer clean = RunCore(dense);
    dense.targets.set(3 * 20 + 4, kNan);
    const CoreAnswer spoilt = RunCore(dense);
    ASSERT_TRUE(spoilt.status.ok()) << spoilt.status;
    EXPECT_TRUE(std::isnan(spoilt.result.loss));
    for (int row = 0; row < 6; ++row) {
      const ByteSpan before = clean.outputs.gradient.bytes().subspan(row * 80, 80);
      const ByteSpan after = spoilt.outputs.gradient.bytes().subspan(row * 80, 80);
      if (row == 3) {
        EXPECT_TRUE(std::isnan(Widen(DType::kF32, after.data() + 4 * 4)));
      } else {
        EXPECT_THAT(after, SameBits(before));
      }
    }
  }
}

// A coefficient of 0 makes a gradient of exactly +0, whatever the row holds.
TEST(NonFinite, ACoefficientOfZeroBeatsNan) {
  Random random(2013);
  for (const Loss& loss : kLosses) {
    for (const std::vector<int64_t>& shape : Shapes()) {
      LossCase c = Base(loss, DType::kF32, shape, TargetKind::kClassIndices, random);
      for (int64_t i = 0; i < c.predictions.size(); i += 7) c.predictions.set(i, kNan);
      LossCase by_scale = c;
      by_scale.spec.gradient_scale = 0;
      ExpectAgreement(by_scale, "gradient_scale 0");
      LossCase by_upstream = c;
      by_upstream.upstream_gradient = PerPosition(c, DType::kF32, 0, 0, random);
      ExpectAgreement(by_upstream, "upstream gradient 0");
      LossCase by_weight = c;
      by_weight.spec.loss_weight = 0;
      const CoreAnswer answer = RunCore(by_weight);
      ASSERT_TRUE(answer.status.ok()) << answer.status;
      EXPECT_EQ(answer.result.loss, 0);
      for (const std::byte b : answer.outputs.gradient.bytes()) ASSERT_EQ(b, std::byte{0});
    }
  }
}

TEST(MultinomialLogistic, ZerosNegativesAndInfinities) {
  for (const double epsilon : {0.0, 1e-20, 0.25}) {
    for (const DType dtype : kFloatDTypes) {
      for (const DType out : kFloatDTypes) {
        LossCase c;
        c.spec.loss = MultinomialLogisticLoss{.log_epsilon = epsilon};
        c.spec.outputs = AllOutputs(c.spec.loss);
        c.spec.gradient_dtype = out;
        c.predictions = OwnedTensor::Of(
            dtype, {8, 2}, {0, 1, -0.0L, 1, -0.5L, 1, -kInf, 1, kInf, 1, kNan, 1, 0.25L, 1, 3, 1});
        c.targets = OwnedTensor::Of(DType::kI8, {8}, {0, 0, 0, 0, 0, 0, 0, 0});
        c.spec.reduction = Reduction::kNone;
        ExpectAgreement(c, "epsilon " + std::to_string(epsilon));
      }
    }
  }
}

TEST(Nll, InfinitePredictions) {
  for (const DType dtype : kFloatDTypes) {
    LossCase c;
    c.spec.loss = NllLoss{};
    c.spec.outputs = AllOutputs(c.spec.loss);
    c.spec.reduction = Reduction::kNone;
    c.predictions =
        OwnedTensor::Of(dtype, {5, 2}, {-kInf, 1, kInf, 1, kNan, 1, -2, kNan, -3, kInf});
    c.targets = OwnedTensor::Of(DType::kU8, {5}, {0, 0, 0, 0, 0});
    ExpectAgreement(c);
  }
}

}  // namespace
}  // namespace lossd::oracle
