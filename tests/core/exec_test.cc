// What the core refuses once it sees the bytes, and how it stops.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/exec/loss_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

using ::testing::HasSubstr;

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();

void ExpectRefused(const LossCase& c, std::vector<std::string> words) {
  const absl::Status status = RunCore(c).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  for (const std::string& word : words) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
}

LossCase SmallCase() {
  Random random(6000);
  return PlainCase(SoftmaxLoss{}, DType::kF32, 20, 10, random);
}

// More positions than could be looked at: they are counted by their product.
TEST(Prepare, CostsNothingWhereNothingCame) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{int64_t{1} << 52, 1},
                                            {1, 2, int64_t{1} << 52},
                                            {1 << 26, 1, 1 << 26}}) {
    for (const bool class_weights : {false, true}) {
      LossTensorDescs tensors;
      tensors.predictions = {DType::kF32, shape};
      tensors.target_kind = TargetKind::kClassProbabilities;
      tensors.targets = {DType::kF32, shape};
      if (class_weights) tensors.class_weights = TensorDesc{DType::kF32, {shape[1]}};
      const std::vector<float> ones(shape[1], 1.0f);
      SideBytes side;
      if (class_weights) side.class_weights = TensorView::Of<float>(ones, {shape[1]}).bytes;
      LossSpec spec;
      spec.reduction = Reduction::kValid;
      absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
      ASSERT_TRUE(plan.ok()) << plan.status();
      const auto run = LossRun::Prepare(*std::move(plan), side, TestExecutor());
      ASSERT_TRUE(run.ok()) << run.status();
      EXPECT_EQ(run->denominator(), 0x1p52);
    }
  }
}

// Nor do the groups that a shape declares.
TEST(Prepare, CountsGroupsAtNoCost) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{int64_t{1} << 30, 1 << 22}, {int64_t{1} << 52, 1}}) {
    LossTensorDescs tensors;
    tensors.predictions = {DType::kF32, shape};
    tensors.target_kind = TargetKind::kClassProbabilities;
    tensors.targets = {DType::kF32, shape};
    LossSpec spec;
    TverskyLoss loss;
    loss.group = Grouping::kSample;
    spec.loss = loss;
    for (const Reduction reduction : {Reduction::kValid, Reduction::kPositions}) {
      spec.reduction = reduction;
      absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
      ASSERT_TRUE(plan.ok()) << plan.status();
      const auto run = LossRun::Prepare(*std::move(plan), {}, TestExecutor());
      ASSERT_TRUE(run.ok()) << run.status();
      EXPECT_EQ(run->denominator(), 0x1p52);
    }
  }
}

TEST(Refusals, LabelsOutOfRangeNameThePositionAndTheValue) {
  for (const DType dtype : kAllDTypes) {
    for (const int wrong : {10, 100, -1}) {
      const bool is_unsigned = dtype == DType::kU8 || dtype == DType::kU16 ||
                               dtype == DType::kU32 || dtype == DType::kU64;
      if (wrong < 0 && is_unsigned) continue;
      LossCase c = SmallCase();
      c.targets =
          OwnedTensor::Make(dtype, {20}, Layout::kRowMajor, [](int64_t) { return Real(3); });
      c.targets.set(17, wrong);
      c.targets.set(18, wrong);
      ExpectRefused(c, {"class_indices[17] is " + std::to_string(wrong), "0..9"});
      c.spec.ignore_labels = {wrong};
      ExpectAgreement(c, "ignored");
    }
  }
}

TEST(Refusals, LabelsThatAreNoWholeNumbers) {
  for (const DType dtype : kFloatDTypes) {
    for (const Real wrong : {0.5L, -0.25L, kNan, kInf, -kInf, 1e4L}) {
      LossCase c = SmallCase();
      c.targets =
          OwnedTensor::Make(dtype, {20}, Layout::kRowMajor, [](int64_t) { return Real(9); });
      ExpectAgreement(c, "whole numbers");
      c.targets.set(4, wrong);
      ExpectRefused(c, {"class_indices[4] is"});
      // The integer below is ignored, the fraction is not.
      c.spec.ignore_labels = {0, -1};
      ExpectRefused(c, {"class_indices[4] is"});
    }
  }
}

TEST(Refusals, LabelsAtTheEndsOfTheirDType) {
  LossCase c = SmallCase();
  c.targets =
      OwnedTensor::Make(DType::kU64, {20}, Layout::kRowMajor, [](int64_t) { return Real(1); });
  c.targets.set(2, 18446744073709551615.0L);
  ExpectRefused(c, {"class_indices[2] is 18446744073709551615"});
  c.spec.ignore_labels = {-1};  // the same bits, another number
  ExpectRefused(c, {"class_indices[2] is 18446744073709551615"});

  c.targets =
      OwnedTensor::Make(DType::kI64, {20}, Layout::kRowMajor, [](int64_t) { return Real(1); });
  c.targets.set(2, -9223372036854775808.0L);
  c.spec.ignore_labels.clear();
  ExpectRefused(c, {"class_indices[2] is -9223372036854775808"});
  c.spec.ignore_labels = {std::numeric_limits<int64_t>::min()};
  ExpectAgreement(c, "least label ignored");
}

TEST(Refusals, PositionWeights) {
  for (const DType dtype : kFloatDTypes) {
    for (const Real wrong : {-1.0L, kNan, kInf, -kInf}) {
      LossCase c = SmallCase();
      c.position_weights =
          OwnedTensor::Make(dtype, {20}, Layout::kRowMajor, [](int64_t) { return Real(1); });
      c.position_weights->set(11, wrong);
      ExpectRefused(c, {"position_weights[11]"});
    }
  }
}

TEST(Refusals, ClassWeights) {
  for (const WeightNormalization normalization :
       {WeightNormalization::kLocal, WeightNormalization::kGlobal, WeightNormalization::kNone}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{10}, {20, 10}}) {
      for (const Real wrong : {-0.5L, kNan, kInf}) {
        LossCase c = SmallCase();
        c.spec.weight_normalization = normalization;
        c.class_weights = OwnedTensor::Make(DType::kF64, shape, Layout::kRowMajor,
                                            [](int64_t) { return Real(1); });
        c.class_weights->set(7, wrong);
        ExpectRefused(c, {"class_weights"});
      }
      // Sums of 0 and beyond f64 can normalise nothing.
      for (const Real all : {0.0L, 1.7e308L}) {
        LossCase c = SmallCase();
        c.spec.weight_normalization = normalization;
        c.class_weights =
            OwnedTensor::Make(DType::kF64, shape, Layout::kRowMajor, [&](int64_t) { return all; });
        if (normalization != WeightNormalization::kNone) {
          ExpectRefused(c, {"class_weights"});
        } else if (all == 0) {
          ExpectAgreement(c, "weights of 0, not normalised");
        }
      }
    }
  }
}

TEST(Refusals, BuffersOfTheWrongSize) {
  const LossCase c = SmallCase();
  for (const int change : {-1, 1}) {
    CoreOutputs outputs = CoreOutputs::For(c);
    GuardedBuffer wrong(outputs.gradient.bytes().size() + change);
    LossOutputs spans = outputs.spans();
    spans.gradient = wrong.span();
    EXPECT_EQ(ComputeLoss(c.spec, c.inputs(), spans, TestExecutor()).status().code(),
              absl::StatusCode::kInvalidArgument);
    std::vector<std::byte> bytes = c.predictions.bytes;
    bytes.resize(bytes.size() + change);
    LossInputs inputs = c.inputs();
    inputs.predictions.bytes = bytes;
    EXPECT_EQ(ComputeLoss(c.spec, inputs, outputs.spans(), TestExecutor()).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// Gradients of 16 MiB and more are written past the caches, rows from wherever in a line they
// begin.
TEST(LargeGradients, HaveTheBitsOfTheirParts) {
  constexpr int64_t kClasses = 1000;
  for (const DType dtype : kFloatDTypes) {
    for (const bool probabilities : {false, true}) {
      SCOPED_TRACE(Name(dtype));
      const int64_t rows = (int64_t{17} << 20) / (kClasses * SizeOf(dtype)) + 1;
      const int64_t bytes = rows * kClasses * SizeOf(dtype);
      std::vector<std::byte> predictions(bytes);
      Random random(static_cast<uint64_t>(dtype));
      const int64_t drawn = int64_t{4099} * SizeOf(dtype);
      for (int64_t at = 0; at < drawn; at += SizeOf(dtype)) {
        Store(dtype, random.Uniform(-8, 8), predictions.data() + at);
      }
      // The same again and again.
      for (int64_t at = drawn; at < bytes; ++at) predictions[at] = predictions[at - drawn];
      const std::vector<std::byte> labels(rows, std::byte{7});
      const auto gradient_of = [&](int64_t part) {
        std::vector<std::byte> gradient(bytes, std::byte{0x55});
        std::vector<std::byte> softmax(probabilities ? bytes : 0);
        for (int64_t row = 0; row < rows; row += part) {
          const int64_t count = std::min(part, rows - row);
          const size_t at = row * kClasses * SizeOf(dtype);
          const size_t size = count * kClasses * SizeOf(dtype);
          LossSpec spec;
          spec.reduction = Reduction::kSum;
          spec.outputs.probabilities = probabilities;
          LossInputs inputs;
          inputs.predictions = {{.dtype = dtype, .shape = {count, kClasses}},
                                ByteSpan(predictions).subspan(at, size)};
          inputs.targets = {{.dtype = DType::kU8, .shape = {count}},
                            ByteSpan(labels).subspan(row, count)};
          LossOutputs out{.gradient = absl::MakeSpan(gradient).subspan(at, size)};
          if (probabilities) out.probabilities = absl::MakeSpan(softmax).subspan(at, size);
          EXPECT_TRUE(ComputeLoss(spec, inputs, out, TestExecutor()).ok());
        }
        return gradient;
      };
      EXPECT_TRUE(gradient_of(rows) == gradient_of(512));
    }
  }
}

TEST(Stop, ARequestedStopEndsTheComputation) {
  const LossCase c = SmallCase();
  const std::atomic<bool> stop = true;
  CoreOutputs outputs = CoreOutputs::For(c);
  EXPECT_EQ(ComputeLoss(c.spec, c.inputs(), outputs.spans(), TestExecutor(), StopToken(&stop))
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace lossd::oracle
