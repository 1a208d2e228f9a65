// What a plan says of requests that are right: where the classes are, how weights are indexed, what
// the shape alone decides.

#include "core/plan/loss_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/core/plan_request.h"

namespace lossd {
namespace {

using plan_test::Request;
using Shape = std::vector<int64_t>;

constexpr Layout kRow = Layout::kRowMajor;
constexpr Layout kColumn = Layout::kColumnMajor;

LossPlan Planned(const Request& request) {
  absl::StatusOr<LossPlan> plan = LossPlan::Make(request.spec, request.tensors);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);  // ends the test program, with its name, where there is none
}

// ------------------------------------------------------------------------------------- geometry

struct GeometryRow {
  const char* name;
  Shape shape;
  Layout layout;
  std::optional<int> axis;
  int resolved;
  int64_t outer, classes, inner;
};
void PrintTo(const GeometryRow& row, std::ostream* out) { *out << row.name; }

const GeometryRow kGeometry[] = {
    {"vector", {5}, kRow, {}, 0, 1, 5, 1},
    {"vector_column", {5}, kColumn, {}, 0, 1, 5, 1},
    {"vector_axis_from_end", {5}, kRow, -1, 0, 1, 5, 1},
    {"matrix", {2, 3}, kRow, {}, 1, 2, 3, 1},
    {"matrix_column", {3, 2}, kColumn, {}, 0, 2, 3, 1},
    {"matrix_axis_0", {2, 3}, kRow, 0, 0, 1, 2, 3},
    {"matrix_column_axis_1", {3, 2}, kColumn, 1, 1, 1, 2, 3},
    {"image", {2, 3, 4, 5}, kRow, {}, 1, 2, 3, 20},
    {"image_column", {5, 4, 3, 2}, kColumn, {}, 2, 2, 3, 20},
    {"image_last", {2, 4, 5, 3}, kRow, -1, 3, 40, 3, 1},
    {"image_axis_2", {2, 3, 4, 5}, kRow, 2, 2, 6, 4, 5},
    {"image_column_axis_0", {5, 4, 3, 2}, kColumn, 0, 0, 24, 5, 1},
    {"image_column_axis_1", {5, 4, 3, 2}, kColumn, -3, 1, 6, 4, 5},
    {"image_column_batch", {5, 4, 3, 2}, kColumn, -1, 3, 1, 2, 60},
    {"cube", {2, 3, 4}, kRow, {}, 1, 2, 3, 4},
    {"cube_column", {4, 3, 2}, kColumn, {}, 1, 2, 3, 4},
    {"rank_8", {2, 3, 2, 1, 2, 1, 2, 5}, kRow, -8, 0, 1, 2, 120},
    {"rank_8_column", {2, 3, 2, 1, 2, 1, 2, 5}, kColumn, {}, 6, 5, 2, 24},
    {"one_class", {7, 1}, kRow, {}, 1, 7, 1, 1},
    {"no_samples", {0, 3, 4}, kRow, {}, 1, 0, 3, 4},
    {"no_pixels", {2, 3, 0}, kRow, {}, 1, 2, 3, 0},
    {"nothing_at_all", {0, 3, 0}, kColumn, {}, 1, 0, 3, 0},
};

class Geometry : public testing::TestWithParam<GeometryRow> {};

TEST_P(Geometry, OfPredictions) {
  const GeometryRow& row = GetParam();
  Request request = Request::Of(row.shape, row.layout, row.resolved);
  request.spec.class_axis = row.axis;
  const LossPlan plan = Planned(request);
  EXPECT_EQ(plan.outer(), row.outer);
  EXPECT_EQ(plan.classes(), row.classes);
  EXPECT_EQ(plan.inner(), row.inner);
  EXPECT_EQ(plan.positions(), row.outer * row.inner);
  EXPECT_EQ(plan.spec().class_axis, row.resolved);
  EXPECT_EQ(plan.predictions_bytes(), row.outer * row.classes * row.inner * 4);
  EXPECT_EQ(plan.whole(), (Box{0, row.outer, 0, row.inner}));
}
INSTANTIATE_TEST_SUITE_P(Plan, Geometry, testing::ValuesIn(kGeometry),
                         [](const auto& info) { return info.param.name; });

// Every axis of every rank: a row-major tensor and the column-major one of the reversed shape.
TEST(Geometry, ReversedColumnMajorIsRowMajor) {
  const Shape extents = {2, 3, 5, 7, 11, 13, 17, 19};
  for (int rank = 1; rank <= 8; ++rank) {
    const Shape shape(extents.begin(), extents.begin() + rank);
    const Shape reversed(shape.rbegin(), shape.rend());
    for (int axis = 0; axis < rank; ++axis) {
      SCOPED_TRACE(testing::Message() << "rank " << rank << ", axis " << axis);
      Request row = Request::Of(shape, kRow, axis);
      row.spec.class_axis = axis - rank;
      Request column = Request::Of(reversed, kColumn, rank - 1 - axis);
      column.spec.class_axis = rank - 1 - axis;
      const LossPlan a = Planned(row), b = Planned(column);
      EXPECT_EQ(a.classes(), extents[axis]);
      EXPECT_EQ(a.outer(), b.outer());
      EXPECT_EQ(a.classes(), b.classes());
      EXPECT_EQ(a.inner(), b.inner());
    }
  }
}

// -------------------------------------------------------------------- tensors beside predictions

struct LabelRow {
  const char* name;
  Shape predictions;
  Layout layout;
  int axis;
  Shape labels;
  Layout labels_layout;
};
void PrintTo(const LabelRow& row, std::ostream* out) { *out << row.name; }

const LabelRow kLabels[] = {
    {"removed", {2, 3, 4}, kRow, 1, {2, 4}, kRow},
    {"kept", {2, 3, 4}, kRow, 1, {2, 1, 4}, kRow},
    {"removed_column", {4, 3, 2}, kColumn, 1, {4, 2}, kColumn},
    {"kept_column", {4, 3, 2}, kColumn, 1, {4, 1, 2}, kColumn},
    {"first_axis", {3, 4}, kRow, 0, {4}, kRow},
    {"first_axis_kept", {3, 4}, kRow, 0, {1, 4}, kRow},
    {"vector_removed", {3}, kRow, 0, {}, kRow},
    {"vector_kept", {3}, kRow, 0, {1}, kColumn},
    {"column_matrix_plain_labels", {3, 2}, kColumn, 0, {2}, kRow},
    {"column_matrix_row_labels", {3, 2}, kColumn, 0, {1, 2}, kRow},
    {"one_long_extent", {1, 3, 5, 1}, kRow, 1, {1, 1, 5, 1}, kColumn},
    {"no_positions", {0, 3, 4}, kRow, 1, {0, 4}, kColumn},
};

class Labels : public testing::TestWithParam<LabelRow> {};

TEST_P(Labels, ShapesThatFit) {
  const LabelRow& row = GetParam();
  Request request = Request::Of(row.predictions, row.layout, row.axis);
  request.spec.class_axis = row.axis;
  for (const DType dtype : kAllDTypes) {
    request.tensors.targets = {dtype, row.labels, row.labels_layout};
    EXPECT_EQ(Planned(request).tensors().targets.dtype, dtype);
  }
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kF16, DType::kBF16}) {
    request.tensors.position_weights = TensorDesc{dtype, row.labels, row.labels_layout};
    request.tensors.upstream_gradient = TensorDesc{dtype, row.labels, row.labels_layout};
    Planned(request);
  }
}
INSTANTIATE_TEST_SUITE_P(Plan, Labels, testing::ValuesIn(kLabels),
                         [](const auto& info) { return info.param.name; });

struct WeightsRow {
  const char* name;
  Shape predictions;
  Layout layout;
  int axis;
  Shape weights;
  WeightNormalization normalization;
  int64_t outer, inner, samples;
};
void PrintTo(const WeightsRow& row, std::ostream* out) { *out << row.name; }

constexpr auto kLocal = WeightNormalization::kLocal;
constexpr auto kGlobal = WeightNormalization::kGlobal;

const WeightsRow kWeights[] = {
    {"classes", {2, 3, 4, 5}, kRow, 1, {3}, kGlobal, 1, 1, 1},
    {"classes_column", {5, 4, 3, 2}, kColumn, 2, {3}, kGlobal, 1, 1, 1},
    {"sample", {2, 3, 4, 5}, kRow, 1, {3, 4, 5}, kGlobal, 1, 20, 1},
    {"sample_column", {5, 4, 3, 2}, kColumn, 2, {5, 4, 3}, kGlobal, 1, 20, 1},
    {"sample_axis_2", {2, 3, 4, 5}, kRow, 2, {3, 4, 5}, kLocal, 3, 5, 1},
    {"sample_axis_2_column", {5, 4, 3, 2}, kColumn, 1, {5, 4, 3}, kLocal, 3, 5, 1},
    {"sample_last", {2, 4, 5, 3}, kRow, 3, {4, 5, 3}, kGlobal, 20, 1, 1},
    {"sample_last_column", {3, 5, 4, 2}, kColumn, 0, {3, 5, 4}, kGlobal, 20, 1, 1},
    {"full", {2, 3, 4, 5}, kRow, 1, {2, 3, 4, 5}, kGlobal, 2, 20, 2},
    {"full_column", {5, 4, 3, 2}, kColumn, 2, {5, 4, 3, 2}, kGlobal, 2, 20, 2},
    {"full_last", {2, 4, 5, 3}, kRow, 3, {2, 4, 5, 3}, kGlobal, 40, 1, 2},
    {"full_matrix", {2, 3}, kRow, 1, {2, 3}, kLocal, 2, 1, 2},
    {"full_matrix_column", {3, 2}, kColumn, 0, {3, 2}, kLocal, 2, 1, 2},
    {"vector", {3}, kRow, 0, {3}, kGlobal, 1, 1, 1},
    {"class_axis_is_batch", {3, 4}, kRow, 0, {3}, kGlobal, 1, 1, 1},
    {"class_axis_is_batch_full", {3, 4}, kRow, 0, {3, 4}, kLocal, 1, 4, 1},
    {"class_axis_is_batch_column", {4, 3}, kColumn, 1, {4, 3}, kLocal, 1, 4, 1},
    {"no_samples", {0, 3, 4}, kRow, 1, {3, 4}, kGlobal, 1, 4, 1},
    {"no_samples_full", {0, 3, 4}, kRow, 1, {0, 3, 4}, kGlobal, 0, 4, 0},
    {"no_pixels", {2, 3, 0}, kRow, 1, {2, 3, 0}, kGlobal, 2, 0, 2},
};

class Weights : public testing::TestWithParam<WeightsRow> {};

TEST_P(Weights, IndexedBy) {
  const WeightsRow& row = GetParam();
  Request request = Request::Of(row.predictions, row.layout, row.axis);
  request.spec.class_axis = row.axis;
  request.spec.weight_normalization = row.normalization;
  request.tensors.class_weights = TensorDesc{DType::kBF16, row.weights, row.layout};
  const LossPlan plan = Planned(request);
  EXPECT_TRUE(plan.has_class_weights());
  EXPECT_EQ(plan.class_weights().dtype, DType::kBF16);
  EXPECT_EQ(plan.class_weights().normalization, row.normalization);
  EXPECT_EQ(plan.class_weights().outer, row.outer);
  EXPECT_EQ(plan.class_weights().inner, row.inner);
  EXPECT_EQ(plan.class_weights().samples, row.samples);
  // The index formula of ClassWeightsPlan reaches every weight, and nothing else.
  EXPECT_EQ(plan.class_weights().outer * plan.classes() * plan.class_weights().inner,
            ElementCount(row.weights));
}
INSTANTIATE_TEST_SUITE_P(Plan, Weights, testing::ValuesIn(kWeights),
                         [](const auto& info) { return info.param.name; });

// Element by element: the weight that the formula picks is the one at the class's own coordinates.
TEST(Weights, OfOneSampleRepeatOverSamples) {
  const Shape shape = {2, 3, 4, 5};
  for (int axis = 1; axis < 4; ++axis) {
    Request request = Request::Of(shape, kRow, axis);
    request.spec.class_axis = axis;
    request.tensors.class_weights = TensorDesc{DType::kF32, {3, 4, 5}, kRow};
    const LossPlan plan = Planned(request);
    const ClassWeightsPlan& weights = plan.class_weights();
    for (int64_t o = 0; o < plan.outer(); ++o) {
      for (int64_t k = 0; k < plan.classes(); ++k) {
        for (int64_t i = 0; i < plan.inner(); ++i) {
          const int64_t element = (o * plan.classes() + k) * plan.inner() + i;
          const int64_t weight = ((o % weights.outer) * plan.classes() + k) * weights.inner +
                                 (weights.inner == 1 ? 0 : i);
          ASSERT_EQ(weight, element % 60) << "axis " << axis << " at " << o << "," << k << "," << i;
        }
      }
    }
  }
}

// -------------------------------------------------------------- what the plan decides or fills in

TEST(Denominator, WhereTheShapeDecidesIt) {
  const auto of = [](Reduction reduction, const Shape& shape, Layout layout, int axis) {
    Request request = Request::Of(shape, layout, axis);
    request.spec.class_axis = axis;
    request.spec.reduction = reduction;
    if (reduction == Reduction::kGiven) request.spec.denominator = 0.125;
    return Planned(request).fixed_denominator();
  };
  EXPECT_EQ(of(Reduction::kPositions, {2, 3, 4}, kRow, 1), 8);
  EXPECT_EQ(of(Reduction::kPositions, {2, 3, 0}, kRow, 1), 0);
  EXPECT_EQ(of(Reduction::kBatch, {2, 3, 4}, kRow, 1), 2);
  EXPECT_EQ(of(Reduction::kBatch, {2, 3, 4}, kRow, 2), 2);
  EXPECT_EQ(of(Reduction::kBatch, {2, 3, 4}, kColumn, 1), 4);
  EXPECT_EQ(of(Reduction::kBatch, {2, 3, 0}, kRow, 1), 2);
  EXPECT_EQ(of(Reduction::kBatch, {0, 3, 4}, kRow, 1), 0);
  EXPECT_EQ(of(Reduction::kBatch, {3}, kRow, 0), 1);
  EXPECT_EQ(of(Reduction::kSum, {2, 3, 4}, kRow, 1), 1);
  EXPECT_EQ(of(Reduction::kNone, {2, 3, 4}, kRow, 1), 1);
  EXPECT_EQ(of(Reduction::kGiven, {2, 3, 4}, kRow, 1), 0.125);
  EXPECT_EQ(of(Reduction::kValid, {2, 3, 4}, kRow, 1), std::nullopt);
  EXPECT_EQ(of(Reduction::kWeightSum, {2, 3, 4}, kRow, 1), std::nullopt);
}

TEST(Defaults, AreFilledIn) {
  Request request = Request::Of({2, 3}, kRow, 1);
  request.tensors.predictions.dtype = DType::kF16;
  const LossPlan bare = Planned(request);
  EXPECT_EQ(bare.spec().class_axis, 1);
  EXPECT_EQ(bare.gradient_dtype(), DType::kF16);
  EXPECT_EQ(bare.spec().weight_normalization, std::nullopt);
  EXPECT_EQ(bare.spec().denominator, std::nullopt);
  EXPECT_FALSE(bare.outputs().position_losses);
  EXPECT_FALSE(bare.has_class_weights());

  // Without class weights there is nothing to normalise.
  request.spec.weight_normalization = WeightNormalization::kGlobal;
  EXPECT_EQ(Planned(request).spec().weight_normalization, std::nullopt);
  request.spec.weight_normalization.reset();

  request.tensors.class_weights = TensorDesc{DType::kF64, {3}, kRow};
  request.spec.gradient_dtype = DType::kF64;
  request.spec.reduction = Reduction::kNone;
  const LossPlan filled = Planned(request);
  EXPECT_EQ(filled.spec().weight_normalization, kLocal);
  EXPECT_EQ(filled.class_weights().normalization, kLocal);
  EXPECT_EQ(filled.gradient_dtype(), DType::kF64);
  EXPECT_TRUE(filled.outputs().position_losses);
}

TEST(Targets, ComeWholeWhereTheGradientNeedsThem) {
  Request request = Request::Of({2, 3}, kRow, 1);
  EXPECT_TRUE(Planned(request).targets_come_whole());
  request.UseProbabilities(DType::kF64);
  EXPECT_FALSE(Planned(request).targets_come_whole());
  request.spec.reduction = Reduction::kValid;
  EXPECT_FALSE(Planned(request).targets_come_whole());
  request.spec.reduction = Reduction::kWeightSum;
  EXPECT_TRUE(Planned(request).targets_come_whole());
}

// ------------------------------------------------------------------------------------------ boxes

TEST(Boxes, HaveTheBytesOfWhatIsWanted) {
  Request request = Request::Of({2, 3, 4}, kRow, 1);
  request.tensors.predictions.dtype = DType::kF16;
  const Box box = {1, 1, 1, 3};
  LossPlan::BoxBytes bytes = Planned(request).BytesOf(box);
  EXPECT_EQ(bytes.predictions, 18);
  EXPECT_EQ(bytes.class_probabilities, 0);
  EXPECT_EQ(bytes.gradient, 18);
  EXPECT_EQ(bytes.position_losses, 0);
  EXPECT_EQ(bytes.log_sum_exp, 0);
  EXPECT_EQ(bytes.argmax_hits, 0);
  EXPECT_EQ(bytes.probabilities, 0);

  request.UseProbabilities(DType::kF64);
  request.spec.gradient_dtype = DType::kF32;
  request.spec.outputs = {.gradient = true,
                          .position_losses = true,
                          .log_sum_exp = true,
                          .argmax_hits = true,
                          .probabilities = true};
  bytes = Planned(request).BytesOf(box);
  EXPECT_EQ(bytes.class_probabilities, 72);
  EXPECT_EQ(bytes.gradient, 36);
  EXPECT_EQ(bytes.position_losses, 24);
  EXPECT_EQ(bytes.log_sum_exp, 24);
  EXPECT_EQ(bytes.argmax_hits, 3);
  EXPECT_EQ(bytes.probabilities, 18);

  request.spec.reduction = Reduction::kWeightSum;
  request.spec.outputs = {.gradient = false};
  bytes = Planned(request).BytesOf(box);
  EXPECT_EQ(bytes.class_probabilities, 0);
  EXPECT_EQ(bytes.gradient, 0);
}

TEST(Boxes, OfNoPositionsHaveNoBytes) {
  const LossPlan plan = Planned(Request::Of({0, 3, 4}, kRow, 1));
  EXPECT_EQ(plan.BytesOf(plan.whole()).predictions, 0);
  EXPECT_EQ(plan.BytesOf(plan.whole()).gradient, 0);
}

struct BoxRow {
  Box box;
  const char* words;  // nullptr: it fits
};

TEST(Boxes, AreInsideAndNotEmpty) {
  const LossPlan plan = Planned(Request::Of({5, 3, 7}, kRow, 1));
  const BoxRow rows[] = {
      {{0, 5, 0, 7}, nullptr},
      {{4, 1, 6, 1}, nullptr},
      {{2, 3, 3, 4}, nullptr},
      {{-1, 1, 0, 1}, "box.outer_begin is -1; wanted 0..4"},
      {{5, 1, 0, 1}, "box.outer_begin is 5; wanted 0..4"},
      {{0, 0, 0, 1}, "box.outer_count is 0; wanted 1..5, since box.outer_begin is 0 of 5"},
      {{0, -1, 0, 1}, "box.outer_count is -1; wanted 1..5"},
      {{2, 4, 0, 1}, "box.outer_count is 4; wanted 1..3, since box.outer_begin is 2 of 5"},
      {{4, INT64_MAX, 0, 1}, "box.outer_count is 9223372036854775807; wanted 1..1"},
      {{INT64_MAX, INT64_MAX, 0, 1}, "box.outer_begin is 9223372036854775807; wanted 0..4"},
      {{INT64_MIN, INT64_MIN, 0, 1}, "box.outer_begin is -9223372036854775808; wanted 0..4"},
      {{0, 1, -2, 3}, "box.inner_begin is -2; wanted 0..6"},
      {{0, 1, 7, 1}, "box.inner_begin is 7; wanted 0..6"},
      {{0, 1, 0, 8}, "box.inner_count is 8; wanted 1..7"},
      {{0, 1, 6, 2}, "box.inner_count is 2; wanted 1..1"},
      {{0, 1, 0, INT64_MIN}, "box.inner_count is -9223372036854775808; wanted 1..7"},
  };
  for (const BoxRow& row : rows) {
    const absl::Status status = plan.CheckBox(row.box);
    if (row.words == nullptr) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.words;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(row.words));
  }
}

TEST(Boxes, OfNoPositionsDoNotExist) {
  const LossPlan plan = Planned(Request::Of({5, 3, 0}, kRow, 1));
  const absl::Status status = plan.CheckBox({0, 1, 0, 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("there are no positions"));
  EXPECT_FALSE(plan.CheckBox(plan.whole()).ok());
}

}  // namespace
}  // namespace lossd
