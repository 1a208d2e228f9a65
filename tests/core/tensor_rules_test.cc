// Which tensors a loss takes, by the rules of its row.

#include <gtest/gtest.h>

#include <string>

#include "core/plan/checks.h"
#include "lossd/losses.h"

namespace lossd {
namespace {

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

}  // namespace
}  // namespace lossd
