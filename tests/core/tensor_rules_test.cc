// Which tensors and options a loss takes: by the rules of its row, and of losses over elements.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/plan/checks.h"
#include "core/plan/loss_plan.h"
#include "tests/core/plan_request.h"

namespace lossd {
namespace {

using plan_test::Request;
using testing::HasSubstr;

constexpr TensorRule kRules[] = {{Role::kClassIndices, Presence::kOneOf},
                                 {Role::kClassProbabilities, Presence::kOneOf},
                                 {Role::kUpstreamGradient, Presence::kRequired},
                                 {Role::kPositionWeights, Presence::kOptional},
                                 {Role::kPredictions, Presence::kRequired}};

void ExpectRefused(const LossTensorDescs& tensors, absl::Span<const TensorRule> rules,
                   const std::string& words) {
  const absl::Status status = plan::CheckTensorRules("made_up", rules, tensors);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(std::string(status.message()), words);
}

TEST(TensorRules, NameTensorAndLoss) {
  LossTensorDescs tensors;
  ExpectRefused(tensors, kRules,
                "upstream_gradient is not set; wanted a tensor: the loss made_up needs it");
  tensors.upstream_gradient = TensorDesc();
  EXPECT_EQ(plan::CheckTensorRules("made_up", kRules, tensors), absl::OkStatus());
  tensors.position_weights = TensorDesc();
  EXPECT_EQ(plan::CheckTensorRules("made_up", kRules, tensors), absl::OkStatus());
  tensors.class_weights = TensorDesc();
  ExpectRefused(tensors, kRules,
                "class_weights is given; wanted none: the loss made_up does not take it");
  tensors.class_weights.reset();
  tensors.target_kind = TargetKind::kTargetValues;
  ExpectRefused(tensors, kRules,
                "target_values is given; wanted none: the loss made_up does not take it");
  // Whoever wants probabilities alone is told so where labels come.
  tensors.target_kind = TargetKind::kClassIndices;
  ExpectRefused(tensors, absl::MakeConstSpan(kRules).subspan(1),
                "class_indices is given; wanted none: the loss made_up does not take it");
}

// A loss over elements of f32 predictions.
Request OverElements() {
  Request request = Request::Of({2, 3, 4}, Layout::kRowMajor, 1);
  request.spec.loss = SquaredErrorLoss();
  request.tensors.target_kind = TargetKind::kTargetValues;
  request.tensors.targets = {DType::kI16, {2, 3, 4}, Layout::kRowMajor};
  return request;
}

struct Row {
  const char* name;
  std::function<void(Request&)> spoil;
  const char* words;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

const Row kRows[] = {
    {"values_of_classes", [](Request& r) { r.spec.loss = NllLoss{}; },
     "target_values is given; wanted none: the loss nll does not take it"},
    {"labels",
     [](Request& r) {
       r.tensors.target_kind = TargetKind::kClassIndices;
       r.tensors.targets.shape = {2, 4};
     },
     "class_indices is given; wanted none: the loss "},
    {"shape_of_labels",
     [](Request& r) {
       r.tensors.targets.shape = {2, 4};
     },
     "target_values.shape is [2,4]; wanted the predictions' shape [2,3,4]"},
    {"layout", [](Request& r) { r.tensors.targets.layout = Layout::kColumnMajor; },
     "target_values.layout is COLUMN_MAJOR; wanted ROW_MAJOR, the predictions' layout"},
    {"weights_of_places",
     [](Request& r) {
       r.tensors.position_weights = TensorDesc{DType::kF32, {2, 1, 4}, Layout::kRowMajor};
     },
     "position_weights.shape is [2,1,4]; wanted the predictions' shape [2,3,4]"},
    {"upstream_of_places",
     [](Request& r) {
       r.tensors.upstream_gradient = TensorDesc{DType::kF32, {2, 4}, Layout::kRowMajor};
     },
     "upstream_gradient.shape is [2,4]; wanted the predictions' shape [2,3,4]"},
    {"ignored", [](Request& r) { r.spec.ignore_labels = {-100}; },
     "ignore_labels has 1 values; wanted none with squared_error"},
    {"smoothed", [](Request& r) { r.spec.label_smoothing = 0.1; },
     "label_smoothing is 0.1; wanted 0 with squared_error"},
    {"hits", [](Request& r) { r.spec.outputs.argmax_hits = true; },
     "outputs.argmax_hits is true; wanted false: only losses that look at one class, or at a "
     "softmax, have it"},
    {"probabilities", [](Request& r) { r.spec.outputs.probabilities = true; },
     "outputs.probabilities is true; wanted false: only the softmax loss has it"},
};

class Elements : public testing::TestWithParam<Row> {};
TEST_P(Elements, AreRefused) {
  Request request = OverElements();
  GetParam().spoil(request);
  const absl::Status status = LossPlan::Make(request.spec, request.tensors).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Refusals, Elements, testing::ValuesIn(kRows),
                         [](const auto& info) { return info.param.name; });

TEST(Elements, AreThePositions) {
  Request request = OverElements();
  request.spec.outputs.position_losses = true;
  const absl::StatusOr<LossPlan> plan = LossPlan::Make(request.spec, request.tensors);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->positions(), 8);
  EXPECT_EQ(plan->counted_positions(), 24);
  EXPECT_EQ(plan->fixed_denominator(), 24);
  EXPECT_EQ(plan->label_shape(), (std::vector<int64_t>{2, 3, 4}));
  const LossPlan::BoxBytes bytes = plan->BytesOf({0, 1, 1, 2});
  EXPECT_EQ(bytes.predictions, 6 * 4);
  EXPECT_EQ(bytes.target_values, 6 * 2);
  EXPECT_EQ(bytes.class_probabilities, 0);
  EXPECT_EQ(bytes.gradient, 6 * 4);
  EXPECT_EQ(bytes.position_losses, 6 * 8);
}

TEST(Elements, HaveTargetsInBlocksWhateverTheReduction) {
  Request request = OverElements();
  for (const Reduction reduction : {Reduction::kPositions, Reduction::kWeightSum}) {
    request.spec.reduction = reduction;
    const absl::StatusOr<LossPlan> plan = LossPlan::Make(request.spec, request.tensors);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_TRUE(plan->IsInBlocks(FactsOf(Role::kTargetValues)));
  }
}

}  // namespace
}  // namespace lossd
