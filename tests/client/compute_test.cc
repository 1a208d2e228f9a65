#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "client/transport/transport.h"
#include "tests/client/doubling_fixture.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Mode, AutoTakesUnaryWhereRequestAndReplyAreSmall) {
  Doubling world;
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), world.into()).ok());
  EXPECT_EQ(world.records().at(0)->method, kComputeMethod);
}

TEST(Mode, AutoStreamsALargeRequest) {
  Doubling world({{}}, {.unary_limit_bytes = 600});  // predictions 480, labels 240
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), {}).ok());
  EXPECT_EQ(world.records().at(0)->method, kComputeStreamMethod);
}

TEST(Mode, AutoCountsTheEnvelopeOfTheRequest) {
  Doubling world({{}}, {.unary_limit_bytes = 721});  // the tensors are 720 bytes
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), {}).ok());
  EXPECT_EQ(world.records().at(0)->method, kComputeStreamMethod);
}

TEST(Mode, AutoStreamsALargeReply) {
  Doubling world({{}}, {.unary_limit_bytes = 2500});  // the request has some 800 bytes
  std::vector<double> losses(Doubling::kOuter * Doubling::kInner);
  LossOutputs into;
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), into).ok());
  EXPECT_EQ(world.records().at(0)->method, kComputeMethod);
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), world.into()).ok());
  EXPECT_EQ(world.records().at(1)->method, kComputeStreamMethod);
}

TEST(Mode, CanBeForced) {
  Doubling world({{}}, {.unary_limit_bytes = 0});
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), {}, {.mode = TransferMode::kUnary}).ok());
  EXPECT_EQ(world.records().at(0)->method, kComputeMethod);
  ASSERT_TRUE(world.Stream().ok());
  EXPECT_EQ(world.records().at(1)->method, kComputeStreamMethod);
}

TEST(Outputs, AreThoseThatHaveBuffers) {
  Doubling world;
  LossSpec spec;
  spec.outputs = {.gradient = false, .position_losses = true, .argmax_hits = true};
  ASSERT_TRUE(world.client().Compute(spec, world.inputs(), world.into()).ok());
  EXPECT_EQ(world.records().at(0)->spec.outputs, (OutputSet{.gradient = true}));
  ASSERT_TRUE(world.client().Compute(spec, world.inputs(), {}).ok());
  EXPECT_EQ(world.records().at(1)->spec.outputs, (OutputSet{.gradient = false}));
}

class AnyBlockSize : public testing::TestWithParam<int64_t> {};

TEST_P(AnyBlockSize, GivesTheSameAnswer) {
  Doubling world({{}}, {.block_bytes = GetParam()});
  const absl::StatusOr<LossResult> result = world.Stream();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss_sum, Doubling::kSum);
  EXPECT_EQ(result->loss, Doubling::kSum / 120);
  EXPECT_EQ(world.gradient(), world.doubled());
  EXPECT_TRUE(world.records().at(0)->header_boxes.empty());
}

TEST_P(AnyBlockSize, WorksInPlace) {
  Doubling world({{}}, {.block_bytes = GetParam()});
  const auto result =
      world.client().Compute({}, world.inputs(), world.in_place(), {.mode = TransferMode::kStream});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(world.predictions(), world.doubled());
}

INSTANTIATE_TEST_SUITE_P(All, AnyBlockSize,
                         testing::Values(1, 16, 33, 64, 79, 80, 81, 200, 480, 1 << 20));

TEST(Stream, SendsHeaderThenSidesInOrderThenBlocks) {
  Doubling world({{}}, {.block_bytes = 3 * Doubling::kPlaneBytes});
  LossInputs in = world.inputs();
  const std::vector<float> classes(Doubling::kClasses, 1);
  const std::vector<double> positions(Doubling::kOuter * Doubling::kInner, 1);
  in.class_weights = TensorView::Of<float>(classes, {Doubling::kClasses});
  in.position_weights = TensorView::Of<double>(positions, {Doubling::kOuter, Doubling::kInner});
  in.upstream_gradient = in.position_weights;
  ASSERT_TRUE(world.client().Compute({}, in, world.into(), {.mode = TransferMode::kStream}).ok());
  EXPECT_THAT(world.records().at(0)->parts,
              ElementsAre("header", "side 1 @0 +16", "side 2 @0 +240", "side 3 @0 +240",
                          "side 4 @0 +240", "block", "block"));
}

TEST(Stream, SidesGoInPieces) {
  Doubling world({{}}, {.block_bytes = 4096});
  std::vector<float> predictions(1100, 1);
  std::vector<int64_t> labels(1100, 0);
  LossInputs in;
  in.predictions = TensorView::Of<float>(predictions, {1100, 1});
  in.targets = TensorView::Of<int64_t>(labels, {1100});
  ASSERT_TRUE(world.client().Compute({}, in, {}, {.mode = TransferMode::kStream}).ok());
  EXPECT_THAT(world.records().at(0)->parts,
              ElementsAre("header", "side 4 @0 +4096", "side 4 @4096 +4096", "side 4 @8192 +608",
                          "block", "block"));
}

TEST(Stream, ProbabilityTargetsTravelInBlocksUnlessTheyDecideD) {
  Doubling world;
  LossInputs in = world.inputs();
  in.target_kind = TargetKind::kClassProbabilities;
  in.targets = in.predictions;
  LossSpec spec;
  ASSERT_TRUE(world.client().Compute(spec, in, {}, {.mode = TransferMode::kStream}).ok());
  EXPECT_THAT(world.records().at(0)->parts, ElementsAre("header", "block"));
  spec.reduction = Reduction::kWeightSum;
  ASSERT_TRUE(world.client().Compute(spec, in, {}, {.mode = TransferMode::kStream}).ok());
  EXPECT_THAT(world.records().at(1)->parts, ElementsAre("header", "side 4 @0 +480", "block"));
}

TEST(Stream, ColumnMajorIsCutAlongTheSameMemory) {
  Doubling world({{}}, {.block_bytes = 2 * Doubling::kPlaneBytes});
  LossInputs in = world.inputs();
  in.predictions.desc.layout = in.targets.desc.layout = Layout::kColumnMajor;
  in.predictions.desc.shape = {Doubling::kInner, 1, Doubling::kClasses, Doubling::kOuter};
  in.targets.desc.shape = {Doubling::kInner, 1, Doubling::kOuter};
  ASSERT_TRUE(world.client().Compute({}, in, world.into(), {.mode = TransferMode::kStream}).ok());
  EXPECT_THAT(world.records().at(0)->blocks,
              ElementsAre(Box{0, 2, 0, 5}, Box{2, 2, 0, 5}, Box{4, 2, 0, 5}));
  EXPECT_EQ(world.gradient(), world.doubled());
}

TEST(Stream, NonsenseIsLeftToTheServerAsABareHeader) {
  Doubling world({{.failure = absl::InvalidArgumentError("class_axis is 7")}});
  LossSpec spec;
  spec.class_axis = 7;
  const auto result =
      world.client().Compute(spec, world.inputs(), {}, {.mode = TransferMode::kStream});
  EXPECT_EQ(result.status(), absl::InvalidArgumentError("class_axis is 7"));
  EXPECT_THAT(world.records().at(0)->parts, ElementsAre("header"));
}

TEST(Stream, ProgressEndsAtAllBytes) {
  Doubling world({{}}, {.block_bytes = 2 * Doubling::kPlaneBytes});
  std::vector<std::pair<int64_t, int64_t>> told;
  const CallOptions call{.mode = TransferMode::kStream, .progress = [&](int64_t done, int64_t all) {
                           told.push_back({done, all});
                         }};
  ASSERT_TRUE(world.client().Compute({}, world.inputs(), {}, call).ok());
  EXPECT_THAT(told, ElementsAre(std::pair(160, 480), std::pair(320, 480), std::pair(480, 480)));
}

TEST(Memory, OfTheWrongSizeIsRefusedBeforeAnythingIsSent) {
  Doubling world;
  LossOutputs into = world.into();
  into.gradient.remove_suffix(4);
  absl::Status error = world.client().Compute({}, world.inputs(), into).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(error.message()), HasSubstr("into.gradient has 476 bytes"));
  EXPECT_THAT(std::string(error.message()), HasSubstr("480"));
  LossInputs in = world.inputs();
  in.predictions.bytes.remove_suffix(1);
  error = world.client().Compute({}, in, {}).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(error.message()), HasSubstr("predictions has 479 bytes; f32[6,4,5]"));
  EXPECT_TRUE(world.records().empty());
}

TEST(Async, RunsManyCallsAtOnce) {
  Doubling world({{}}, {.block_bytes = 64});
  std::vector<std::vector<float>> gradients(20, std::vector<float>(120));
  std::vector<std::future<absl::StatusOr<LossResult>>> answers;
  for (std::vector<float>& gradient : gradients) {
    const LossOutputs into{.gradient = BytesOf(absl::MakeSpan(gradient))};
    answers.push_back(
        world.client().ComputeAsync({}, world.inputs(), into, {.mode = TransferMode::kStream}));
  }
  for (auto& answer : answers) EXPECT_EQ(answer.get()->loss_sum, Doubling::kSum);
  for (const std::vector<float>& gradient : gradients) EXPECT_EQ(gradient, world.doubled());
}

TEST(Async, TheLastHandleMayGoInACompletion) {
  std::promise<double> sum;
  {
    auto world = std::make_shared<Doubling>();
    Client client = world->client();
    const LossInputs in = world->inputs();
    client.ComputeAsync({}, in, {}, {}, [&sum, world = std::move(world)](auto result) mutable {
      world.reset();
      sum.set_value(result->loss_sum);
    });
  }
  EXPECT_EQ(sum.get_future().get(), Doubling::kSum);
}

}  // namespace
}  // namespace lossd
