// Losses over elements beside the cross product of oracle_test: infinities and NaN, weights of 0,
// boxes, in place, and the sum of weights.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/exec/loss_run.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"

namespace lossd::oracle {
namespace {

constexpr Real kInf = std::numeric_limits<Real>::infinity();
constexpr Real kNan = std::numeric_limits<Real>::quiet_NaN();
constexpr auto kRowMajor = Layout::kRowMajor;

// The losses that take numbers as targets, class weights, and no further tensors.
std::vector<Loss> PlainLosses() {
  std::vector<Loss> plain;
  for (const Loss& loss : kElementLosses) {
    const bool usual = FactsOf(loss).tensors.data() == std::data(kElementTensors);
    if (usual && TargetsOf(loss) == TargetRange::kAny) plain.push_back(loss);
  }
  return plain;
}

LossCase CaseOf(const Loss& loss, const std::vector<Real>& x, const std::vector<Real>& t) {
  LossCase c;
  c.spec.loss = loss;
  c.spec.outputs = AllOutputs(loss);
  const auto count = static_cast<int64_t>(x.size());
  c.predictions = OwnedTensor::Of(DType::kF32, {1, count}, x);
  c.target_kind = TargetKind::kTargetValues;
  c.targets = OwnedTensor::Of(DType::kF32, {1, count}, t);
  return c;
}

TEST(ElementRuns, InfinitiesAndNan) {
  const std::vector<Real> x = {1, kInf, -kInf, kInf, kNan, 1, kNan, 2, -kInf, 1e38L};
  const std::vector<Real> t = {1, 0, 0, kInf, 0, kNan, kNan, -kInf, -kInf, -5e37L};
  for (const Loss& loss : PlainLosses()) {
    LossCase c = CaseOf(loss, x, t);
    c.spec.gradient_dtype = DType::kF64;
    c.spec.reduction = Reduction::kSum;
    ExpectAgreement(c, "all");
    c.spec.non_finite_policy = NonFinitePolicy::kError;
    const CoreAnswer refused = RunCore(c);
    EXPECT_NE(std::string(refused.status.message()).find("predictions of position 3 are not"),
              std::string::npos)
        << refused.status;
  }
}

// Missing targets: q = 0 and anything there.
TEST(ElementRuns, NothingCountsBehindAWeightOf0) {
  for (const Loss& loss : PlainLosses()) {
    LossCase c = CaseOf(loss, {1, 2, kInf, 4}, {kNan, 1, kInf, kInf});
    c.position_weights = OwnedTensor::Of(DType::kF32, {1, 4}, {0, 1, 0, 0});
    c.upstream_gradient = OwnedTensor::Of(DType::kF32, {1, 4}, {kInf, 1, kNan, 1});
    c.spec.reduction = Reduction::kWeightSum;
    ExpectAgreement(c);
    const CoreAnswer core = RunCore(c);
    EXPECT_TRUE(std::isfinite(core.result.loss));
    EXPECT_EQ(core.result.denominator, 1);
  }
}

// The box of a whole, out of packed bytes of [outer][classes][inner] elements.
std::vector<std::byte> Cut(const std::vector<std::byte>& whole, int64_t size, int64_t classes,
                           int64_t inner, const Box& box) {
  std::vector<std::byte> part;
  for (int64_t o = box.outer_begin; o < box.outer_begin + box.outer_count; ++o) {
    for (int64_t k = 0; k < classes; ++k) {
      const auto* const from = whole.data() + ((o * classes + k) * inner + box.inner_begin) * size;
      part.insert(part.end(), from, from + box.inner_count * size);
    }
  }
  return part;
}

// Every box has the bits of the whole, and the boxes' sums are its sums; the gradient overwrites
// the predictions.
TEST(ElementRuns, BoxesInPlaceHaveTheBitsOfTheWhole) {
  constexpr int64_t kOuter = 5;
  constexpr int64_t kClasses = 7;
  constexpr int64_t kInner = 300;
  Random random(7);
  for (const Loss& loss : PlainLosses()) {
    for (const DType dtype : kFloatDTypes) {
      LossCase c;
      c.spec.loss = loss;
      c.spec.outputs = AllOutputs(loss);
      c.spec.reduction = Reduction::kWeightSum;
      const std::vector<int64_t> shape = {kOuter, kClasses, kInner};
      const auto make = [&](DType type, std::vector<int64_t> of, Real low) {
        return OwnedTensor::Make(type, std::move(of), kRowMajor,
                                 [&](int64_t) { return random.Uniform(low, 2); });
      };
      c.predictions = make(dtype, shape, -2);
      c.target_kind = TargetKind::kTargetValues;
      c.targets = make(DType::kBF16, shape, -2);
      c.class_weights = make(DType::kF32, {kClasses, kInner}, 0.1L);
      c.position_weights = make(DType::kF16, shape, 0);
      c.upstream_gradient = make(DType::kF64, shape, -2);
      CoreAnswer core = RunCore(c);
      ASSERT_TRUE(core.status.ok()) << core.status;
      EXPECT_EQ(Disagreement(c, core), "");

      absl::StatusOr<LossPlan> plan = LossPlan::Make(c.spec, DescsOf(c.inputs()));
      ASSERT_TRUE(plan.ok());
      SideBytes side;
      side.class_weights = c.class_weights->bytes;
      side.position_weights = c.position_weights->bytes;
      side.upstream_gradient = c.upstream_gradient->bytes;
      const absl::StatusOr<LossRun> run = LossRun::Prepare(*plan, side, TestExecutor());
      ASSERT_TRUE(run.ok()) << run.status();
      PartialSums sums;
      for (const Box& box : {Box{0, 2, 0, kInner}, Box{2, 3, 0, 1}, Box{2, 3, 1, kInner - 1}}) {
        const auto cut = [&](absl::Span<const std::byte> whole, int64_t size) {
          return Cut({whole.begin(), whole.end()}, size, kClasses, kInner, box);
        };
        std::vector<std::byte> x = cut(c.predictions.bytes, SizeOf(dtype));
        const std::vector<std::byte> t = cut(c.targets.bytes, 2);
        std::vector<std::byte> losses(run->plan().BytesOf(box).position_losses);
        BoxInputs in;
        in.predictions = ScatteredBytes(ByteSpan(x));
        in.target_values = ScatteredBytes(ByteSpan(t));
        const absl::StatusOr<PartialSums> part = run->RunBox(
            box, in, {.gradient = absl::MakeSpan(x), .position_losses = absl::MakeSpan(losses)},
            TestExecutor());
        ASSERT_TRUE(part.ok()) << part.status();
        sums.Merge(*part);
        EXPECT_EQ(x, cut(core.outputs.gradient.bytes(), SizeOf(dtype)));
        EXPECT_EQ(losses, cut(core.outputs.position_losses.bytes(), 8));
      }
      EXPECT_EQ(sums, core.result.exact);
    }
  }
}

// Gradients too large for a cache are written past it, unless they overwrite the predictions.
TEST(ElementRuns, LargeGradientsHaveTheBitsOfThoseInPlace) {
  for (const Loss& loss : PlainLosses()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const int64_t count = (int64_t{17} << 20) / SizeOf(dtype) + 7;
      // Made fast: a few numbers again and again.
      const auto repeated = [&](DType type, int64_t period) {
        const OwnedTensor part = OwnedTensor::Make(type, {period}, kRowMajor, [&](int64_t i) {
          return Real(i % 100 - 50) / (type == DType::kI8 ? 1 : 64);
        });
        OwnedTensor tensor;
        tensor.desc = {type, {count, 1}, kRowMajor};
        tensor.bytes.resize(count * SizeOf(type));
        for (size_t at = 0; at < tensor.bytes.size(); at += part.bytes.size()) {
          const size_t size = std::min(part.bytes.size(), tensor.bytes.size() - at);
          std::memcpy(tensor.bytes.data() + at, part.bytes.data(), size);
        }
        return tensor;
      };
      LossCase c;
      c.spec.loss = loss;
      c.predictions = repeated(dtype, 1013);
      c.target_kind = TargetKind::kTargetValues;
      c.targets = repeated(DType::kI8, 997);
      // Not at the beginning of a line of cache.
      const CoreAnswer apart = RunCore(c, TestExecutor(), /*misalignment=*/SizeOf(dtype));
      ASSERT_TRUE(apart.status.ok()) << apart.status;
      EXPECT_TRUE(apart.outputs.intact());
      std::vector<std::byte> memory = c.predictions.bytes;
      LossInputs in = c.inputs();
      in.predictions.bytes = memory;
      const absl::StatusOr<LossResult> in_place =
          ComputeLoss(c.spec, in, {.gradient = absl::MakeSpan(memory)}, TestExecutor());
      ASSERT_TRUE(in_place.ok()) << in_place.status();
      EXPECT_EQ(in_place->exact, apart.result.exact);
      const auto got = apart.outputs.gradient.bytes();
      EXPECT_TRUE(std::equal(got.begin(), got.end(), memory.begin(), memory.end()));
    }
  }
}

// Where D is found before the targets come, it is the sum that the answer has.
TEST(ElementRuns, WeightSumIsThatOfTheAnswer) {
  Random random(11);
  for (const Loss& loss : kElementLosses) {
    for (const WeightsForm form : {WeightsForm::kNone, WeightsForm::kPerClass,
                                   WeightsForm::kOneSample, WeightsForm::kFull}) {
      for (int i = 0; i < 20; ++i) {
        Factors factors = {.loss = loss, .dtype = DType::kF64, .rank = 3, .axis = 1};
        factors.weights = form;
        factors.reduction = Reduction::kWeightSum;
        factors.target_kind = TargetKind::kTargetValues;
        factors.label_dtype = DType::kF64;
        LossCase c = MakeCase(factors, random);
        c.spec.all_ignored_policy = AllIgnoredPolicy::kZero;
        const CoreAnswer core = RunCore(c);
        ASSERT_TRUE(core.status.ok()) << core.status;
        EXPECT_EQ(core.result.denominator, core.result.weight_sum);
      }
    }
  }
}

}  // namespace
}  // namespace lossd::oracle
