#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/lossctl/compute_inputs.h"
#include "client/lossctl/compute_outputs.h"
#include "client/lossctl/layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/lossctl/npy_bytes.h"
#include "tests/support/temp_dir.h"

namespace lossd::lossctl {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

TensorDesc Desc(DType dtype, std::vector<int64_t> shape, Layout layout = Layout::kRowMajor) {
  return {dtype, std::move(shape), layout};
}

TEST(ClassAxis, DefaultsByLayoutAndRank) {
  EXPECT_EQ(ClassAxis({}, Desc(DType::kF32, {8, 3, 5, 7})), 1);
  EXPECT_EQ(ClassAxis({}, Desc(DType::kF32, {8, 3, 5, 7}, Layout::kColumnMajor)), 2);
  EXPECT_EQ(ClassAxis({}, Desc(DType::kF32, {3, 8}, Layout::kColumnMajor)), 0);
  EXPECT_EQ(ClassAxis({}, Desc(DType::kF32, {3})), 0);
  EXPECT_EQ(ClassAxis({}, Desc(DType::kF32, {3}, Layout::kColumnMajor)), 0);
  EXPECT_EQ(ClassAxis({}, Desc(DType::kF32, {})), std::nullopt);
}

TEST(ClassAxis, CountsFromBothEndsAndNoFurther) {
  const TensorDesc desc = Desc(DType::kF32, {8, 3, 5});
  EXPECT_EQ(ClassAxis(2, desc), 2);
  EXPECT_EQ(ClassAxis(-1, desc), 2);
  EXPECT_EQ(ClassAxis(-3, desc), 0);
  EXPECT_EQ(ClassAxis(3, desc), std::nullopt);
  EXPECT_EQ(ClassAxis(-4, desc), std::nullopt);
}

struct KindCase {
  const char* name;
  TensorDesc targets;
  TensorDesc predictions;
  TargetKind wanted;
};

class GuessKind : public testing::TestWithParam<KindCase> {};

TEST_P(GuessKind, FollowsTheRule) {
  EXPECT_EQ(GuessTargetKind(GetParam().targets, GetParam().predictions, 1), GetParam().wanted);
}

constexpr TargetKind kIndices = TargetKind::kClassIndices;
constexpr TargetKind kProbabilities = TargetKind::kClassProbabilities;

INSTANTIATE_TEST_SUITE_P(
    Targets, GuessKind,
    testing::Values(
        KindCase{"integers", Desc(DType::kI64, {8}), Desc(DType::kF32, {8, 3}), kIndices},
        KindCase{"probabilities", Desc(DType::kF64, {8, 3}), Desc(DType::kF32, {8, 3}),
                 kProbabilities},
        KindCase{"integers_of_that_shape", Desc(DType::kI32, {8, 3}), Desc(DType::kF32, {8, 3}),
                 kProbabilities},
        KindCase{"floating_labels", Desc(DType::kF32, {8, 1}), Desc(DType::kF32, {8, 3}), kIndices},
        KindCase{"one_class", Desc(DType::kF32, {8, 1}), Desc(DType::kF32, {8, 1}), kIndices},
        KindCase{"no_positions", Desc(DType::kF32, {0, 3}), Desc(DType::kF32, {0, 3}),
                 kProbabilities}),
    [](const auto& info) { return info.param.name; });

npy::NpyTensor Tensor(const std::vector<int16_t>& values, std::vector<int64_t> shape,
                      Layout layout) {
  const auto memory = std::make_shared<std::vector<int16_t>>(values);
  return npy::NpyTensor(TensorView::Of<int16_t>(*memory, std::move(shape), layout), memory);
}

std::vector<int16_t> Values(const npy::NpyTensor& tensor) {
  const ByteSpan bytes = tensor.view().bytes;
  std::vector<int16_t> values(bytes.size() / 2);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(values.data()));
  return values;
}

// Element (i, j, k) of a [2][3][4] tensor is 100 i + 10 j + k, wherever it lies.
TEST(InLayout, MovesEveryElementBothWays) {
  std::vector<int16_t> row_major, column_major;
  for (int16_t i = 0; i < 2; ++i) {
    for (int16_t j = 0; j < 3; ++j) {
      for (int16_t k = 0; k < 4; ++k) row_major.push_back(100 * i + 10 * j + k);
    }
  }
  for (int16_t k = 0; k < 4; ++k) {
    for (int16_t j = 0; j < 3; ++j) {
      for (int16_t i = 0; i < 2; ++i) column_major.push_back(100 * i + 10 * j + k);
    }
  }
  const auto to_column =
      InLayout(Tensor(row_major, {2, 3, 4}, Layout::kRowMajor), Layout::kColumnMajor);
  ASSERT_TRUE(to_column.ok());
  EXPECT_EQ(to_column->view().desc, Desc(DType::kI16, {2, 3, 4}, Layout::kColumnMajor));
  EXPECT_THAT(Values(*to_column), ElementsAreArray(column_major));
  const auto to_row =
      InLayout(Tensor(column_major, {2, 3, 4}, Layout::kColumnMajor), Layout::kRowMajor);
  ASSERT_TRUE(to_row.ok());
  EXPECT_EQ(to_row->view().desc, Desc(DType::kI16, {2, 3, 4}));
  EXPECT_THAT(Values(*to_row), ElementsAreArray(row_major));
}

TEST(InLayout, MovesNothingWhereBothLayoutsAreTheSameBytes) {
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{3}, {1, 3}, {3, 1, 1}, {0, 3, 4}}) {
    const npy::NpyTensor tensor =
        Tensor(std::vector<int16_t>(shape[0] == 0 ? 0 : 3, 5), shape, Layout::kRowMajor);
    const auto moved = InLayout(tensor, Layout::kColumnMajor);
    ASSERT_TRUE(moved.ok());
    EXPECT_EQ(moved->view().desc, Desc(DType::kI16, shape, Layout::kColumnMajor));
    EXPECT_EQ(moved->view().bytes.data(), tensor.view().bytes.data());
  }
  EXPECT_FALSE(SameInBothLayouts({2, 1, 3}));
}

TEST(ReadInputs, BringsSideTensorsToTheLayoutOfThePredictions) {
  const TempDir scratch;
  ComputeFlags flags;
  flags.predictions = scratch.Write(
      "x.npy", NpyBytes("<f4", "(2, 3, 2)", Bytes(std::vector<float>(12)), /*fortran_order=*/true));
  flags.targets = scratch.Write("y.npy", NpyBytes("|i1", "(2, 2)", "\x01\x02\x03\x04"));
  const auto inputs = ReadInputs(flags, LossSpec{});
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(inputs->class_axis, 1);
  const TensorView& targets = inputs->tensors.targets;
  EXPECT_EQ(targets.desc, Desc(DType::kI8, {2, 2}, Layout::kColumnMajor));
  EXPECT_THAT(targets.bytes, ElementsAre(std::byte{1}, std::byte{3}, std::byte{2}, std::byte{4}));
}

TEST(ReadInputs, NamesFlagAndFile) {
  const TempDir scratch;
  ComputeFlags flags;
  flags.predictions = scratch.Write("x.npy", NpyBytes("<f4", "(2,)", Bytes<float>({1, 2})));
  flags.targets = scratch.Write("y.npy", NpyBytes("|i1", "()", "\1"));
  flags.class_weights = scratch.Path("missing.npy");
  const absl::Status status = ReadInputs(flags, LossSpec{}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("--class-weights: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("missing.npy: cannot be opened"));
}

std::vector<float> Floats(const TensorView& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::copy(tensor.bytes.begin(), tensor.bytes.end(), reinterpret_cast<std::byte*>(values.data()));
  return values;
}

TEST(ReadInputs, MasksAndMultiHotTargetsMayBeBoolOrIntegers) {
  const TempDir scratch;
  ComputeFlags flags;
  flags.predictions =
      scratch.Write("x.npy", NpyBytes("<f4", "(2, 3)", Bytes(std::vector<float>(6))));
  const std::vector<int8_t> hot = {0, 1, 1, 0, 0, 1};
  for (const char* const descr : {"|b1", "|i1", "|u1"}) {
    flags.targets = scratch.Write("y.npy", NpyBytes(descr, "(2, 3)", Bytes(hot)));
    flags.position_weights =
        scratch.Write("q.npy", NpyBytes(descr, "(2,)", std::string("\1\0", 2)));
    const auto inputs = ReadInputs(flags, LossSpec{});
    ASSERT_TRUE(inputs.ok()) << inputs.status();
    EXPECT_EQ(inputs->tensors.target_kind, TargetKind::kClassProbabilities);
    EXPECT_EQ(inputs->tensors.targets.desc, Desc(DType::kF32, {2, 3}));
    EXPECT_THAT(Floats(inputs->tensors.targets), ElementsAre(0, 1, 1, 0, 0, 1));
    EXPECT_THAT(Floats(*inputs->tensors.position_weights), ElementsAre(1, 0));
  }
}

TEST(ReadInputs, IntegerWeightsAreTakenWhereAFloatHoldsThem) {
  const TempDir scratch;
  ComputeFlags flags;
  flags.predictions = scratch.Write("x.npy", NpyBytes("<f4", "(2,)", Bytes<float>({1, 2})));
  flags.targets = scratch.Write("y.npy", NpyBytes("|i1", "()", "\1"));
  flags.class_weights =
      scratch.Write("w.npy", NpyBytes("<i8", "(2,)", Bytes<int64_t>({-7, int64_t{1} << 53})));
  const auto inputs = ReadInputs(flags, LossSpec{});
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(inputs->tensors.class_weights->desc, Desc(DType::kF64, {2}));
  for (const int64_t large : {(int64_t{1} << 53) + 1, INT64_MIN}) {
    flags.class_weights =
        scratch.Write("w.npy", NpyBytes("<i8", "(2,)", Bytes<int64_t>({0, large})));
    const absl::Status status = ReadInputs(flags, LossSpec{}).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("--class-weights: element 1 is "));
  }
}

// x.T of NumPy is saved in Fortran order. With as many samples as classes nothing else says so.
TEST(ReadInputs, FortranOrderThatMayMeanEitherAxisMustBeExplained) {
  const TempDir scratch;
  ComputeFlags flags;
  const std::string nine = Bytes(std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8});
  flags.predictions = scratch.Write("x.npy", NpyBytes("<f4", "(3, 3)", nine, true));
  flags.targets = scratch.Write("y.npy", NpyBytes("|i1", "(3,)", std::string(3, '\0')));
  const absl::Status status = ReadInputs(flags, LossSpec{}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("Fortran order"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--fortran-order=storage"));

  flags.fortran_order = "column-major";
  auto inputs = ReadInputs(flags, LossSpec{});
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(inputs->class_axis, 0);

  flags.fortran_order = "storage";
  inputs = ReadInputs(flags, LossSpec{});
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(inputs->class_axis, 1);
  EXPECT_EQ(inputs->tensors.predictions.desc, Desc(DType::kF32, {3, 3}));
  EXPECT_THAT(Floats(inputs->tensors.predictions), ElementsAre(0, 3, 6, 1, 4, 7, 2, 5, 8));

  // An axis that was asked for leaves nothing open.
  flags.fortran_order.reset();
  flags.class_axis = "1";
  LossSpec spec;
  spec.class_axis = 1;
  EXPECT_TRUE(ReadInputs(flags, spec).ok());
}

ComputeInputs Inputs(TensorDesc predictions, TargetKind kind, TensorDesc targets, int axis) {
  ComputeInputs inputs;
  inputs.tensors.predictions.desc = std::move(predictions);
  inputs.tensors.target_kind = kind;
  inputs.tensors.targets.desc = std::move(targets);
  inputs.class_axis = axis;
  return inputs;
}

TEST(LabelShape, IsThatOfTheLabels) {
  const TensorDesc x = Desc(DType::kF32, {8, 3, 5});
  EXPECT_THAT(LabelShape(Inputs(x, kIndices, Desc(DType::kI8, {8, 5}), 1)), ElementsAre(8, 5));
  EXPECT_THAT(LabelShape(Inputs(x, kIndices, Desc(DType::kI8, {8, 1, 5}), 1)),
              ElementsAre(8, 1, 5));
  EXPECT_THAT(LabelShape(Inputs(x, kProbabilities, Desc(DType::kF32, {8, 3, 5}), 2)),
              ElementsAre(8, 3));
  EXPECT_THAT(LabelShape(Inputs(x, kIndices, Desc(DType::kI8, {9}), 1)), ElementsAre(8, 5));
}

TEST(ComputeOutputs, HaveTheTypesShapesAndLayoutOfTheContract) {
  const TempDir scratch;
  ComputeFlags flags;
  flags.gradient_out = scratch.Path("gradient.npy");
  flags.position_losses_out = scratch.Path("losses.npy");
  flags.hits_out = scratch.Path("hits.npy");
  LossSpec spec;
  spec.gradient_dtype = DType::kBF16;
  const auto outputs = ComputeOutputs::Make(flags, spec,
                                            Inputs(Desc(DType::kF32, {2, 3}, Layout::kColumnMajor),
                                                   kIndices, Desc(DType::kI8, {1, 3}), 0));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->into().gradient.size(), 12u);
  EXPECT_EQ(outputs->into().position_losses.size(), 24u);
  EXPECT_EQ(outputs->into().argmax_hits.size(), 3u);
  EXPECT_TRUE(outputs->into().probabilities.empty());
  EXPECT_TRUE(outputs->into().log_sum_exp.empty());
  EXPECT_THAT(scratch.FileNames(), ElementsAre());
  std::fill(outputs->into().position_losses.begin(), outputs->into().position_losses.end(),
            std::byte{0});
  std::vector<std::string> announced;
  const auto announce = [&](const std::string& path) { announced.push_back(path); };
  ASSERT_TRUE(outputs->Write(announce).ok());
  EXPECT_THAT(announced,
              ElementsAre(*flags.gradient_out, *flags.position_losses_out, *flags.hits_out));
  EXPECT_THAT(scratch.FileNames(), ElementsAre("gradient.npy", "hits.npy", "losses.npy"));
  EXPECT_EQ(npy::ReadNpy(*flags.gradient_out)->view().desc,
            Desc(DType::kBF16, {2, 3}, Layout::kColumnMajor));
  EXPECT_EQ(npy::ReadNpy(*flags.hits_out)->view().desc,
            Desc(DType::kU8, {1, 3}, Layout::kColumnMajor));
  EXPECT_THAT(Elements<double>(ReadWhole(*flags.position_losses_out)), ElementsAre(0, 0, 0));
}

}  // namespace
}  // namespace lossd::lossctl
