// One Compute as several streams: how it is cut, merged, replayed and ended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/testing/fake_transport.h"
#include "protos/wire/response_codec.h"
#include "tests/client/doubling_fixture.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

absl::Status Down() { return absl::UnavailableError("connection lost"); }

absl::StatusOr<LossResult> Compute(Doubling& world, int fan_out) {
  return world.client().Compute({}, world.inputs(), world.in_place(),
                                {.mode = TransferMode::kStream, .fan_out = fan_out});
}

// How many planes each call was asked for.
std::vector<int64_t> Planes(const Doubling& world) {
  std::vector<int64_t> planes;
  for (const auto& record : world.records()) {
    planes.push_back(0);
    for (const Box& box : record->blocks) {
      planes.back() += box.outer_count * box.inner_count / Doubling::kInner;
    }
  }
  return planes;
}

void ExpectRight(Doubling& world, const absl::StatusOr<LossResult>& result) {
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss_sum, Doubling::kSum);
  EXPECT_EQ(result->loss, Doubling::kSum / 120);
  EXPECT_EQ(result->position_count, Doubling::kOuter * Doubling::kInner);
  EXPECT_EQ(world.predictions(), world.doubled());
}

TEST(FanOut, PartsAreOfEqualSizeAndMergeToOneAnswer) {
  const std::pair<int, std::vector<int64_t>> rows[] = {
      {1, {6}}, {2, {3, 3}}, {3, {2, 2, 2}}, {4, {2, 2, 1, 1}}, {6, {1, 1, 1, 1, 1, 1}}};
  for (const auto& [parts, planes] : rows) {
    Doubling world;
    ExpectRight(world, Compute(world, parts));
    EXPECT_EQ(Planes(world), planes);
    for (const auto& record : world.records()) {
      EXPECT_EQ(record->header_boxes.size(), parts == 1 ? 0u : 1u);
      EXPECT_EQ(record->parts[1], "side 4 @0 +240");  // all labels
    }
  }
}

TEST(FanOut, MorePartsThanPlanesCutThePlanes) {
  Doubling world;
  ExpectRight(world, Compute(world, 7));
  EXPECT_THAT(world.records(), SizeIs(7));
  Doubling every;
  ExpectRight(every, Compute(every, 200));
  EXPECT_THAT(every.records(), SizeIs(Doubling::kOuter * Doubling::kInner));
}

TEST(FanOut, APartIsReplayedByItselfAndOnlyWhatIsMissing) {
  // Calls begin with one for each of three parts of two blocks; the second breaks after one block.
  Doubling world({{}, {.failure = Down(), .blocks_before_failure = 1}, {}},
                 {.block_bytes = Doubling::kPlaneBytes});
  ExpectRight(world, Compute(world, 3));
  ASSERT_THAT(world.records(), SizeIs(4));
  EXPECT_THAT(world.records()[1]->header_boxes, ElementsAre(Box{2, 2, 0, 5}));
  EXPECT_THAT(world.records()[3]->header_boxes, ElementsAre(Box{3, 1, 0, 5}));
  EXPECT_THAT(world.records()[3]->blocks, ElementsAre(Box{3, 1, 0, 5}));
}

TEST(FanOut, TheFirstPartThatFailsForGoodEndsThemAll) {
  // The others never end by themselves.
  Doubling world({{.never_ends = true},
                  {.failure = absl::InvalidArgumentError("labels[7] is 9")},
                  {.never_ends = true}});
  const absl::Time start = world.transport().Now();
  EXPECT_EQ(Compute(world, 3).status(), absl::InvalidArgumentError("labels[7] is 9"));
  EXPECT_LT(world.transport().Now() - start, absl::Seconds(1));
}

TEST(FanOut, TheDeadlineIsThatOfTheWholeCall) {
  Doubling world({{}, {.never_ends = true}, {}});
  const absl::Time start = world.transport().Now();
  const absl::Status error =
      world.client()
          .Compute({}, world.inputs(), world.into(),
                   {.timeout = absl::Seconds(1), .mode = TransferMode::kStream, .fan_out = 3})
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(error)) << error;
  EXPECT_EQ(world.transport().Now() - start, absl::Seconds(1));
}

TEST(FanOut, ServersThatDivideByDifferentNumbersAreNotBelieved) {
  Doubling world({{},
                  {.meddle =
                       [](std::vector<wire::Message>& answer) {
                         LossResult wrong;
                         wrong.denominator = 3;
                         answer.back() = wire::Message(*wire::EncodeSummary(wrong));
                       }},
                  {}});
  const absl::Status error = Compute(world, 3).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(error.message()), HasSubstr("by 3"));
}

TEST(FanOut, ProgressIsOfAllPartsTogether) {
  Doubling world({{}}, {.block_bytes = Doubling::kPlaneBytes});
  std::vector<int64_t> done;
  const auto result = world.client().Compute(
      {}, world.inputs(), world.into(),
      {.mode = TransferMode::kStream, .fan_out = 3, .progress = [&](int64_t bytes, int64_t total) {
         done.push_back(bytes);
         EXPECT_EQ(total, 6 * Doubling::kPlaneBytes);
       }});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(done, SizeIs(6));
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), 6 * Doubling::kPlaneBytes);
}

TEST(FanOut, CallsOfOneMessageAreNotCut) {
  Doubling world;
  const auto result = world.client().Compute({}, world.inputs(), world.into(), {.fan_out = 3});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(world.records(), SizeIs(1));
}

TEST(FanOut, AsynchronousCallsToo) {
  Doubling world({{}, {.failure = Down()}, {}});
  const auto result = world.client()
                          .ComputeAsync({}, world.inputs(), world.in_place(),
                                        {.mode = TransferMode::kStream, .fan_out = 3})
                          .get();
  ExpectRight(world, result);
  EXPECT_THAT(world.records(), SizeIs(4));
}

TEST(FanOut, NoPartsAndTooManyAreRefused) {
  for (const int parts : {0, -1, 257}) {
    Doubling world;
    const absl::Status error = Compute(world, parts).status();
    EXPECT_TRUE(absl::IsInvalidArgument(error)) << parts;
    EXPECT_THAT(std::string(error.message()), HasSubstr("fan_out is "));
    EXPECT_THAT(world.records(), IsEmpty());
  }
}

TEST(FanOut, OnAPlayedServiceIsOneCall) {
  int calls = 0;
  Client client(
      MakeFakeTransport({.compute = [&](const LossSpec&, const LossInputs& inputs,
                                        const LossOutputs&) -> absl::StatusOr<LossResult> {
        ++calls;
        EXPECT_EQ(inputs.predictions.desc.shape.front(), 8);
        LossResult result;
        result.loss = 42;
        return result;
      }}));
  const std::vector<float> predictions(8 * 3, 1);
  const std::vector<int64_t> labels(8, 1);
  LossInputs in;
  in.predictions = TensorView::Of<float>(predictions, {8, 3});
  in.targets = TensorView::Of<int64_t>(labels, {8});
  const auto result = client.Compute({}, in, {}, {.mode = TransferMode::kStream, .fan_out = 4});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->loss, 42);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace lossd
