// Policies, empty tensors, infinities and NaN: what happens at the edges, against the oracle.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"

namespace lossd::oracle {
namespace {

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

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

// The count of a global batch in which nothing counts; nor does anything here, or it is refused.
TEST(AllIgnored, AGivenDenominatorOf0) {
  Random random(2012);
  for (const Loss& loss : kLosses) {
    for (const TargetKind kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
      for (const AllIgnoredPolicy policy :
           {AllIgnoredPolicy::kZero, AllIgnoredPolicy::kNan, AllIgnoredPolicy::kError}) {
        for (const double zero : {0.0, -0.0}) {
          LossCase c = TypicalCase(loss, DType::kF32, {5, 7}, kind, random);
          c.spec.reduction = Reduction::kGiven;
          c.spec.denominator = zero;
          c.spec.all_ignored_policy = policy;
          ExpectAgreement(c, "something counts");
          EXPECT_EQ(RunCore(c).status.code(), absl::StatusCode::kInvalidArgument);
          if (kind == TargetKind::kClassIndices) {
            LossCase ignored = c;
            ignored.spec.ignore_labels = {0, 1, 2, 3, 4, 5, 6};
            ExpectAgreement(ignored, "all ignored");
          }
          c.position_weights = OwnedTensor::Of(DType::kF32, {5}, {0, 0, 0, 0, 0});
          ExpectAgreement(c, "all weights 0");
          const CoreAnswer answer = RunCore(c);
          EXPECT_EQ(answer.status.ok(), policy != AllIgnoredPolicy::kError) << answer.status;
          const double loss = answer.result.loss;
          EXPECT_TRUE(policy != AllIgnoredPolicy::kZero || loss == 0) << loss;
          EXPECT_TRUE(policy != AllIgnoredPolicy::kNan || std::isnan(loss)) << loss;
          EXPECT_EQ(answer.result.denominator, 0);
          EXPECT_FALSE(std::signbit(answer.result.denominator));
        }
      }
    }
  }
}

// How many elements are zero, of which none has a sign.
int64_t CountZeros(absl::Span<const std::byte> bytes, int64_t size, const std::string& context) {
  int64_t zeros = 0;
  for (size_t at = 0; at < bytes.size(); at += size) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + at, size);
    const uint64_t sign = uint64_t{1} << (8 * size - 1);
    EXPECT_NE(bits, sign) << "-0 at element " << at / size << " " << context;
    zeros += (bits & ~sign) == 0 ? 1 : 0;
  }
  return zeros;
}

// Gradients that underflow when they are scaled or narrowed, from either side.
TEST(Zeros, OfTheGradientHaveNoSign) {
  Random random(2013);
  std::vector<std::vector<int64_t>> shapes = BothKernelShapes();
  shapes.insert(shapes.end(), {{40, 2}, {33, 5}, {3, 300}, {2, 9, 70}});
  for (const Loss& loss : kLosses) {
    for (const DType in : kFloatDTypes) {
      for (const DType out : kFloatDTypes) {
        int64_t zeros = 0;
        for (const std::vector<int64_t>& shape : shapes) {
          for (const TargetKind kind :
               {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
            for (const double scale : {1e-9, -1e-9, 1e-44, -1e-44, 5e-324, -5e-324}) {
              LossCase c = TypicalCase(loss, in, shape, kind, random);
              c.spec.gradient_dtype = out;
              c.spec.gradient_scale = scale;
              CoreAnswer answer = RunCore(c);
              ASSERT_TRUE(answer.status.ok()) << answer.status;
              zeros += CountZeros(answer.outputs.spans().gradient, SizeOf(out), Describe(c));
            }
          }
        }
        EXPECT_GT(zeros, 0);
      }
    }
  }
}

TEST(Zeros, OfThePositionLossesHaveNoSign) {
  for (const Loss& loss : kLosses) {
    for (const DType dtype : kFloatDTypes) {
      for (const double x : {0.0, -0.0, 1.0}) {
        for (const int64_t classes : {1, 2, 40}) {
          Random random(2014);
          LossCase c = PlainCase(loss, dtype, 3, classes, random);
          c.predictions = OwnedTensor::Make(dtype, {3, classes}, Layout::kRowMajor,
                                            [&](int64_t) { return Real(x); });
          c.spec.ignore_labels = {classes - 1};
          CoreAnswer answer = RunCore(c);
          ASSERT_TRUE(answer.status.ok()) << answer.status;
          CountZeros(answer.outputs.spans().position_losses, 8, Describe(c));
        }
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
          LossCase c = TypicalCase(loss, DType::kF32, shape, kind, random);
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

TEST(NonFinite, UpstreamOfWhatWeighsNothingDoesNotCount) {
  Random random(2013);
  for (const Loss& loss : kLosses) {
    for (const auto kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
      for (const std::vector<int64_t>& shape : {std::vector<int64_t>{6, 20}, {1, 20, 6}}) {
        LossCase c = TypicalCase(loss, DType::kF32, shape, kind, random);
        const std::vector<int64_t> labels =
            shape.size() == 2 ? std::vector<int64_t>{6} : std::vector<int64_t>{1, 6};
        c.upstream_gradient = OwnedTensor::Of(DType::kF32, labels, {1, kNan, kNan, kInf, 1, 1});
        c.position_weights = OwnedTensor::Of(DType::kF64, labels, {1, 0, 1, 0, 1, 1});
        ExpectAgreement(c, "weightless");
        c.spec.gradient_scale = 0;
        ExpectAgreement(c, "scaled to 0");
      }
    }
  }
}

TEST(NonFinite, UpstreamAndTargetsPoisonTheirOwnRowAlone) {
  Random random(2012);
  for (const Loss& loss : kLosses) {
    LossCase c = PlainCase(loss, DType::kF32, 6, 20, random);
    c.upstream_gradient = OwnedTensor::Of(DType::kF32, {6}, {1, 1, kNan, 1, kInf, 1});
    ExpectAgreement(c, "upstream gradient");

    LossCase dense =
        TypicalCase(loss, DType::kF32, {6, 20}, TargetKind::kClassProbabilities, random);
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
    for (const std::vector<int64_t>& shape : BothKernelShapes()) {
      LossCase c = TypicalCase(loss, DType::kF32, shape, TargetKind::kClassIndices, random);
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
