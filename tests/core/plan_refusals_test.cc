// Refusals that no message can bring about, since decoding has refused it before, and the order of
// the checks. Every other refusal is a row of tests/wire/refusals_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/plan/loss_plan.h"
#include "tests/core/plan_request.h"

namespace lossd {
namespace {

using plan_test::Request;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// An enum that holds a number which has no name.
template <class E>
E Number(int value) {
  return static_cast<E>(value);
}

struct Row {
  const char* name;
  std::function<void(Request&)> spoil;
  absl::StatusCode code;
  const char* words;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

// Applied to [2,3,4] f32 logits with i64 labels.
const Row kRows[] = {
    {"prediction_dtype_0", [](Request& r) { r.tensors.predictions.dtype = Number<DType>(0); },
     kInvalid, "predictions.dtype is unspecified; wanted f32, f64, f16"},
    {"prediction_dtype_13", [](Request& r) { r.tensors.predictions.dtype = Number<DType>(13); },
     kUnimplemented, "predictions.dtype is 13; wanted f32"},
    {"prediction_dtype_negative",
     [](Request& r) { r.tensors.predictions.dtype = Number<DType>(-128); }, kUnimplemented,
     "predictions.dtype is -128"},
    {"prediction_layout_0", [](Request& r) { r.tensors.predictions.layout = Number<Layout>(0); },
     kInvalid, "predictions.layout is unspecified; wanted ROW_MAJOR or COLUMN_MAJOR"},
    {"prediction_layout_3", [](Request& r) { r.tensors.predictions.layout = Number<Layout>(3); },
     kUnimplemented, "predictions.layout is 3"},
    {"prediction_rank_9", [](Request& r) { r.tensors.predictions.shape.assign(9, 1); }, kInvalid,
     "predictions.shape has rank 9; wanted rank 1 to 8"},
    {"prediction_extent_negative", [](Request& r) { r.tensors.predictions.shape[2] = -1; },
     kInvalid, "predictions.shape is [2,3,-1]; wanted extents >= 0"},
    {"target_kind", [](Request& r) { r.tensors.target_kind = Number<TargetKind>(4); },
     kUnimplemented, "the kind of the targets is 4; wanted class indices or class probabilities"},
    {"index_dtype_0", [](Request& r) { r.tensors.targets.dtype = Number<DType>(0); }, kInvalid,
     "class_indices.dtype is unspecified"},
    {"index_dtype_99", [](Request& r) { r.tensors.targets.dtype = Number<DType>(99); },
     kUnimplemented, "class_indices.dtype is 99"},
    {"index_layout_9", [](Request& r) { r.tensors.targets.layout = Number<Layout>(9); },
     kUnimplemented, "class_indices.layout is 9"},
    {"index_rank_9", [](Request& r) { r.tensors.targets.shape.assign(9, 1); }, kInvalid,
     "class_indices.shape has rank 9; wanted [2,4] or [2,1,4]"},
    {"probability_dtype_99", [](Request& r) { r.UseProbabilities(Number<DType>(99)); },
     kUnimplemented, "class_probabilities.dtype is 99"},
    {"weights_dtype_99",
     [](Request& r) {
       r.tensors.class_weights = TensorDesc{Number<DType>(99), {3}, Layout::kRowMajor};
     },
     kUnimplemented, "class_weights.dtype is 99"},
    {"weights_layout_0",
     [](Request& r) {
       r.tensors.class_weights = TensorDesc{DType::kF32, {3}, Number<Layout>(0)};
     },
     kInvalid, "class_weights.layout is unspecified"},
    {"weights_rank_9",
     [](Request& r) {
       r.tensors.class_weights = TensorDesc{DType::kF32, std::vector<int64_t>(9, 1)};
     },
     kInvalid,
     "class_weights.shape has rank 9; wanted [3], one sample's shape [3,4], or the predictions' "
     "shape [2,3,4]"},
    {"position_weights_dtype_99",
     [](Request& r) {
       r.tensors.position_weights = TensorDesc{Number<DType>(99), {2, 4}};
     },
     kUnimplemented, "position_weights.dtype is 99"},
    {"upstream_layout_99",
     [](Request& r) {
       r.tensors.upstream_gradient = TensorDesc{DType::kF32, {2, 4}, Number<Layout>(99)};
     },
     kUnimplemented, "upstream_gradient.layout is 99"},
    {"weight_normalization_0",
     [](Request& r) { r.spec.weight_normalization = Number<WeightNormalization>(0); }, kInvalid,
     "weight_normalization is unspecified; wanted LOCAL, GLOBAL or NONE"},
    {"weight_normalization_4",
     [](Request& r) { r.spec.weight_normalization = Number<WeightNormalization>(4); },
     kUnimplemented, "weight_normalization is 4"},
    {"reduction_0", [](Request& r) { r.spec.reduction = Number<Reduction>(0); }, kInvalid,
     "reduction is unspecified; wanted POSITIONS, VALID, WEIGHT_SUM, BATCH, SUM, GIVEN or NONE"},
    {"reduction_8", [](Request& r) { r.spec.reduction = Number<Reduction>(8); }, kUnimplemented,
     "reduction is 8"},
    {"reduction_negative", [](Request& r) { r.spec.reduction = Number<Reduction>(-1); },
     kUnimplemented, "reduction is -1"},
    {"gradient_dtype_0", [](Request& r) { r.spec.gradient_dtype = Number<DType>(0); }, kInvalid,
     "gradient_dtype is unspecified"},
    {"gradient_dtype_127", [](Request& r) { r.spec.gradient_dtype = Number<DType>(127); },
     kUnimplemented, "gradient_dtype is 127"},
    {"all_ignored_policy_0",
     [](Request& r) { r.spec.all_ignored_policy = Number<AllIgnoredPolicy>(0); }, kInvalid,
     "all_ignored_policy is unspecified; wanted ZERO, NAN or ERROR"},
    {"all_ignored_policy_4",
     [](Request& r) { r.spec.all_ignored_policy = Number<AllIgnoredPolicy>(4); }, kUnimplemented,
     "all_ignored_policy is 4"},
    {"non_finite_policy_0",
     [](Request& r) { r.spec.non_finite_policy = Number<NonFinitePolicy>(0); }, kInvalid,
     "non_finite_policy is unspecified; wanted PROPAGATE or ERROR"},
    {"non_finite_policy_3",
     [](Request& r) { r.spec.non_finite_policy = Number<NonFinitePolicy>(3); }, kUnimplemented,
     "non_finite_policy is 3"},
    {"negative_nan", [](Request& r) { r.spec.label_smoothing = -kNan; }, kInvalid,
     "label_smoothing is nan;"},
};

class Refusals : public testing::TestWithParam<Row> {};

TEST_P(Refusals, ByCodeAndWords) {
  Request request = Request::Of({2, 3, 4}, Layout::kRowMajor, 1);
  ASSERT_TRUE(LossPlan::Make(request.spec, request.tensors).ok());
  GetParam().spoil(request);
  const absl::Status status = LossPlan::Make(request.spec, request.tensors).status();
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Plan, Refusals, testing::ValuesIn(kRows),
                         [](const auto& info) { return info.param.name; });

// A request that is wrong everywhere is refused for its first fault; put right, for its next.
TEST(Order, PredictionsThenTargetsThenOptionsThenWeights) {
  Request request;
  LossSpec& spec = request.spec;
  LossTensorDescs& tensors = request.tensors;
  tensors.predictions = {DType::kI8, {-1}, Number<Layout>(7)};
  tensors.targets = {Number<DType>(0), {9}, Number<Layout>(0)};
  tensors.class_weights = TensorDesc{DType::kU8, {7}, Number<Layout>(7)};
  tensors.position_weights = TensorDesc{DType::kU8, {7}, Number<Layout>(7)};
  tensors.upstream_gradient = TensorDesc{DType::kU8, {7}, Number<Layout>(7)};
  spec.loss = MultinomialLogisticLoss{.log_epsilon = 1};
  spec.class_axis = 5;
  spec.weight_normalization = Number<WeightNormalization>(9);
  spec.ignore_labels.assign(65, 0);
  spec.label_smoothing = 2;
  spec.loss_weight = -1;
  spec.reduction = Number<Reduction>(9);
  spec.denominator = -1;
  spec.gradient_scale = kNan;
  spec.gradient_dtype = DType::kI64;
  spec.all_ignored_policy = Number<AllIgnoredPolicy>(9);
  spec.non_finite_policy = Number<NonFinitePolicy>(9);
  spec.outputs = {.log_sum_exp = true, .probabilities = true};

  const TensorDesc per_position = {DType::kF32, {2}, Layout::kRowMajor};
  struct Step {
    const char* field;
    std::function<void()> repair;
  };
  const Step steps[] = {
      {"predictions.dtype", [&] { tensors.predictions.dtype = DType::kF32; }},
      {"predictions.layout", [&] { tensors.predictions.layout = Layout::kRowMajor; }},
      {"predictions.shape",
       [&] {
         tensors.predictions.shape = {2, 0};
       }},
      {"class_axis", [&] { spec.class_axis = -1; }},
      {"predictions.shape",
       [&] {
         tensors.predictions.shape = {2, 3};
       }},
      {"class_indices.dtype", [&] { tensors.targets.dtype = DType::kU16; }},
      {"class_indices.shape", [&] { tensors.targets.shape = {2}; }},
      {"class_indices.layout", [&] { tensors.targets.layout = Layout::kRowMajor; }},
      {"multinomial_logistic.log_epsilon", [&] { spec.loss = MultinomialLogisticLoss{}; }},
      {"weight_normalization", [&] { spec.weight_normalization.reset(); }},
      {"ignore_labels", [&] { spec.ignore_labels.resize(64); }},
      {"label_smoothing", [&] { spec.label_smoothing = 0; }},
      {"loss_weight", [&] { spec.loss_weight = 0; }},
      {"reduction", [&] { spec.reduction = Reduction::kGiven; }},
      {"denominator", [&] { spec.denominator = 1; }},
      {"gradient_scale", [&] { spec.gradient_scale = -2; }},
      {"gradient_dtype", [&] { spec.gradient_dtype = DType::kBF16; }},
      {"all_ignored_policy", [&] { spec.all_ignored_policy = AllIgnoredPolicy::kNan; }},
      {"non_finite_policy", [&] { spec.non_finite_policy = NonFinitePolicy::kError; }},
      {"outputs.log_sum_exp", [&] { spec.outputs.log_sum_exp = false; }},
      {"outputs.probabilities", [&] { spec.outputs.probabilities = false; }},
      {"class_weights.dtype", [&] { tensors.class_weights->dtype = DType::kF32; }},
      {"class_weights.shape", [&] { tensors.class_weights->shape = {3}; }},
      {"class_weights.layout", [&] { tensors.class_weights->layout = Layout::kRowMajor; }},
      {"position_weights.dtype", [&] { tensors.position_weights = per_position; }},
      {"upstream_gradient.dtype", [&] { tensors.upstream_gradient = per_position; }},
  };
  for (const Step& step : steps) {
    const absl::Status status = LossPlan::Make(spec, tensors).status();
    EXPECT_THAT(std::string(status.message()),
                testing::AnyOf(testing::StartsWith(std::string(step.field) + " is "),
                               testing::StartsWith(std::string(step.field) + " has ")));
    step.repair();
  }
  const absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
  EXPECT_TRUE(plan.ok()) << plan.status();
}

}  // namespace
}  // namespace lossd
