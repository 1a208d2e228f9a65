// The worked example of docs/semantics.md, from the core, in every form a caller may give it.
#include <optional>
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"

namespace lossd::oracle {
namespace {

struct Example {
  const char* name;
  std::optional<WeightNormalization> normalization;  // not given: no class weights
  Real loss;
  std::vector<Real> gradient;
};

const Example kExamples[] = {
    {"not_given",
     std::nullopt,
     0.2529341424452772L,
     {.022507643292595L, .061182117763699L, -.083689761056295L, -.113362653183455L,
      .030487913077432L, .082874740106023L}},
    {"local",
     WeightNormalization::kLocal,
     0.2283685623337337L,
     {.033761464938893L, .091773176645549L, -.125534641584442L, -.056681326591728L,
      .015243956538716L, .041437370053011L}},
    {"global",
     WeightNormalization::kGlobal,
     0.2283685623337337L,
     {.033761464938893L, .091773176645549L, -.125534641584442L, -.056681326591728L,
      .015243956538716L, .041437370053011L}},
    {"none",
     WeightNormalization::kNone,
     0.4567371246674674L,
     {.067522929877785L, .183546353291098L, -.251069283168884L, -.113362653183455L,
      .030487913077432L, .082874740106023L}},
};

class WorkedExample : public ::testing::TestWithParam<Example> {
 protected:
  static LossCase CaseOf(const Example& example, DType dtype) {
    LossCase c;
    c.spec.loss_weight = 0.5;
    c.predictions = OwnedTensor::Of(dtype, {2, 3}, {1, 2, 3, 0.5L, -1, 0});
    c.targets = OwnedTensor::Of(DType::kI64, {2}, {2, 0});
    c.spec.gradient_dtype = DType::kF64;
    if (example.normalization) {
      c.class_weights = OwnedTensor::Of(DType::kF64, {3}, {1, 2, 3});
      c.spec.weight_normalization = example.normalization;
    }
    return c;
  }

  static void Expect(const LossCase& c, Real tolerance) {
    const CoreAnswer core = RunCore(c);
    ASSERT_TRUE(core.status.ok()) << core.status;
    EXPECT_THAT(Real(core.result.loss), NearWithin(GetParam().loss, tolerance));
    for (int i = 0; i < 6; ++i) {
      const Real got = Widen(DType::kF64, core.outputs.gradient.bytes().data() + 8 * i);
      EXPECT_THAT(got, NearWithin(GetParam().gradient[i], tolerance)) << "entry " << i;
    }
  }
};

TEST_P(WorkedExample, InF64) { Expect(CaseOf(GetParam(), DType::kF64), 1e-15L); }

// The logits are exact in every dtype; what remains is arithmetic in f32.
TEST_P(WorkedExample, InTheNarrowDTypes) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    Expect(CaseOf(GetParam(), dtype), 4e-7L);
  }
}

TEST_P(WorkedExample, ColumnMajor) {
  LossCase c = CaseOf(GetParam(), DType::kF64);
  c.predictions.desc.shape = {3, 2};
  c.predictions.desc.layout = Layout::kColumnMajor;
  c.targets.desc.shape = {1, 2};
  c.targets.desc.layout = Layout::kColumnMajor;
  Expect(c, 1e-15L);
}

TEST_P(WorkedExample, ClassesApartInMemory) {
  LossCase c = CaseOf(GetParam(), DType::kF64);
  c.predictions = OwnedTensor::Make(DType::kF64, {2, 3}, Layout::kColumnMajor, [&](int64_t i) {
    return CaseOf(GetParam(), DType::kF64).predictions.at(i % 2 * 3 + i / 2);
  });
  c.targets.desc.layout = Layout::kColumnMajor;
  c.spec.class_axis = 1;
  const CoreAnswer core = RunCore(c);
  // With the classes last, the batch dimension is the class axis: not a matter for [C] weights.
  ASSERT_TRUE(core.status.ok()) << core.status;
  EXPECT_THAT(Real(core.result.loss), NearWithin(GetParam().loss, 1e-15L));
  for (int i = 0; i < 6; ++i) {
    const Real got = Widen(DType::kF64, core.outputs.gradient.bytes().data() + 8 * i);
    EXPECT_THAT(got, NearWithin(GetParam().gradient[i % 2 * 3 + i / 2], 1e-15L)) << "entry " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Normalisations, WorkedExample, ::testing::ValuesIn(kExamples),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace lossd::oracle
