// The refusal table: requests that are wrong in one place, each with the code and the words it is
// refused with. They go the whole way of a request: protobuf, decoding, plan, labels and weights,
// predictions. The domains of the options are in option_domains_test.cc
// and loss_domains_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/wire/text_request.h"

namespace lossd::wire_test {
namespace {

using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

struct Row {
  const char* name;
  const char* text;
  absl::StatusCode code;
  const char* words;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.text; }
std::string NameOf(const testing::TestParamInfo<Row>& info) { return info.param.name; }

void ExpectRefused(const v1::ComputeRequest& request, absl::StatusCode code,
                   const std::string& words) {
  const absl::Status status = Answer(request);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  // A stream's header is refused for the same fault in the same words, unless it is in the data.
  if (status == PlanOf(request) && words.find(".data has ") == std::string::npos) {
    EXPECT_EQ(PlanOfHeader(request), status);
  }
}

// ------------------------------------------------------------------------- what has to be there

const Row kIncomplete[] = {
    {"nothing", "", kInvalid, "spec is not set"},
    {"no_spec",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(2 0) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0.5 -1 0) }",
     kInvalid, "spec is not set; wanted a LossSpec"},
    {"no_loss",
     "spec {}"
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(2 0) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0.5 -1 0) }",
     kInvalid, "spec.loss is not set; wanted one of softmax, multinomial_logistic, nll"},
    {"no_targets",
     "spec { softmax {} }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3] data: $f32(1 2 3 0.5 -1 0) }",
     kInvalid, "targets is not set; wanted class_indices or class_probabilities"},
    {"no_target_values",
     "spec { squared_error {} } predictions { dtype: DTYPE_F32 shape: [1, 1] data: $f32(1) }",
     kInvalid, "targets is not set; wanted target_values"},
    {"no_predictions",
     "spec { softmax {} }"
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(2 0) }",
     kInvalid, "predictions is not set; wanted a tensor"},
};

class Incomplete : public testing::TestWithParam<Row> {};
TEST_P(Incomplete, Refused) {
  ExpectRefused(ParseRequest(GetParam().text), GetParam().code, GetParam().words);
}
INSTANTIATE_TEST_SUITE_P(Refusals, Incomplete, testing::ValuesIn(kIncomplete), NameOf);

// --------------------------------------------------------------- faults that any tensor may have

const Row kTensorFaults[] = {
    {"dtype_missing", "shape: 1 data: $f32(1)", kInvalid,
     ".dtype is DTYPE_UNSPECIFIED; wanted one of DTYPE_F32, DTYPE_F64"},
    {"dtype_unspecified", "dtype: DTYPE_UNSPECIFIED shape: 1 data: $f32(1)", kInvalid,
     ".dtype is DTYPE_UNSPECIFIED; wanted one of DTYPE_F32, DTYPE_F64"},
    {"dtype_unknown", "dtype: 99 shape: 1 data: $f32(1)", kUnimplemented,
     ".dtype is 99, which is not known; wanted one of DTYPE_F32"},
    {"dtype_negative", "dtype: -1 shape: 1 data: $f32(1)", kUnimplemented, ".dtype is -1"},
    {"layout_unspecified", "dtype: DTYPE_F32 shape: 1 layout: LAYOUT_UNSPECIFIED data: $f32(1)",
     kInvalid,
     ".layout is LAYOUT_UNSPECIFIED; wanted one of LAYOUT_ROW_MAJOR, LAYOUT_COLUMN_MAJOR"},
    {"layout_unknown", "dtype: DTYPE_F32 shape: 1 layout: 3 data: $f32(1)", kUnimplemented,
     ".layout is 3, which is not known; wanted one of LAYOUT_ROW_MAJOR"},
    {"rank_9", "dtype: DTYPE_F32 shape: [1, 1, 1, 1, 1, 1, 1, 1, 1] data: $f32(1)", kInvalid,
     ".shape has rank 9; wanted at most 8"},
    {"extent_negative", "dtype: DTYPE_F32 shape: [2, -3]", kInvalid,
     ".shape is [2,-3]; wanted extents of at least 0"},
    {"extent_negative_twice", "dtype: DTYPE_F32 shape: [-2, -3] data: $zeros(24)", kInvalid,
     ".shape is [-2,-3]; wanted extents of at least 0"},
    {"extent_smallest", "dtype: DTYPE_F32 shape: -9223372036854775808", kInvalid,
     ".shape is [-9223372036854775808]; wanted extents of at least 0"},
    {"product_0_in_64_bits", "dtype: DTYPE_F32 shape: [4294967296, 4294967296]", kInvalid,
     ".shape is [4294967296,4294967296]; wanted extents whose product in bytes fits"},
    {"product_2_in_64_bits", "dtype: DTYPE_F32 shape: [3, 6148914691236517206] data: $zeros(8)",
     kInvalid, ".shape is [3,6148914691236517206]; wanted extents whose product in bytes fits"},
    {"product_with_0", "dtype: DTYPE_F32 shape: [4294967296, 4294967296, 0]", kInvalid,
     ".shape is [4294967296,4294967296,0]; wanted extents whose product in bytes fits"},
    {"bytes_0_in_64_bits", "dtype: DTYPE_F32 shape: 4611686018427387904", kInvalid,
     ".shape is [4611686018427387904]; wanted extents whose product in bytes fits"},
    {"byte_short", "dtype: DTYPE_F32 shape: [2, 3] data: $zeros(23)", kInvalid,
     ".data has 23 bytes; wanted 24 for f32 of shape [2,3]"},
    {"byte_over", "dtype: DTYPE_F32 shape: [2, 3] data: $zeros(25)", kInvalid,
     ".data has 25 bytes; wanted 24 for f32 of shape [2,3]"},
    {"data_missing", "dtype: DTYPE_F64 shape: [2, 3]", kInvalid,
     ".data has 0 bytes; wanted 48 for f64 of shape [2,3]"},
    {"data_of_empty", "dtype: DTYPE_F32 shape: [2, 0] data: $zeros(4)", kInvalid,
     ".data has 4 bytes; wanted 0 for f32 of shape [2,0]"},
    {"data_for_rank_0", "dtype: DTYPE_F16 data: $zeros(4)", kInvalid,
     ".data has 4 bytes; wanted 2 for f16 of shape []"},
    {"huge_and_empty", "dtype: DTYPE_F64 shape: [1048576, 1099511627775]", kInvalid,
     ".data has 0 bytes; wanted 9223372036846387200 for f64 of shape [1048576,1099511627775]"},
};

const char* const kTensors[] = {"predictions",   "class_indices",    "class_probabilities",
                                "class_weights", "position_weights", "upstream_gradient"};

class Tensors : public testing::TestWithParam<std::tuple<const char*, Row>> {};
TEST_P(Tensors, Refused) {
  const std::string tensor = std::get<0>(GetParam());
  const Row& row = std::get<1>(GetParam());
  ExpectRefused(RequestWith(tensor + " { " + row.text + " }"), row.code, tensor + row.words);
}
INSTANTIATE_TEST_SUITE_P(Refusals, Tensors,
                         testing::Combine(testing::ValuesIn(kTensors),
                                          testing::ValuesIn(kTensorFaults)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

// ---------------------------------------------------------------------- dtypes and how shapes fit

const Row kMisfits[] = {
    {"predictions_i32", "predictions { dtype: DTYPE_I32 shape: [2, 3] data: $zeros(24) }", kInvalid,
     "predictions.dtype is i32; wanted f32, f64, f16 or bf16"},
    {"predictions_u8", "predictions { dtype: DTYPE_U8 shape: [2, 3] data: $zeros(6) }", kInvalid,
     "predictions.dtype is u8; wanted f32, f64, f16 or bf16"},
    {"predictions_rank_0", "predictions { dtype: DTYPE_F32 data: $f32(1) }", kInvalid,
     "predictions.shape is []; wanted rank 1 to 8"},
    {"no_classes", "predictions { dtype: DTYPE_F32 shape: [2, 0] }", kInvalid,
     "predictions.shape is [2,0]; wanted at least one class along the class axis 1"},
    {"no_classes_rank_1", "predictions { dtype: DTYPE_F32 shape: 0 }", kInvalid,
     "predictions.shape is [0]; wanted at least one class along the class axis 0"},
    {"no_classes_column_major",
     "predictions { dtype: DTYPE_F32 shape: [4, 0, 2] layout: LAYOUT_COLUMN_MAJOR }", kInvalid,
     "predictions.shape is [4,0,2]; wanted at least one class along the class axis 1"},
    {"too_many_elements_but_empty",
     "predictions { dtype: DTYPE_F16 shape: [0, 1, 1152921504606846976] }", kInvalid,
     "predictions.shape is [0,1,1152921504606846976]; wanted at most 1152921504606846975 elements"},
    {"labels_too_few", "class_indices { dtype: DTYPE_I64 shape: 1 data: $i64(2) }", kInvalid,
     "class_indices.shape is [1]; wanted [2] or [2,1]: the predictions' shape [2,3] with the class "
     "axis 1 removed or 1"},
    {"labels_too_many", "class_indices { dtype: DTYPE_I64 shape: 3 data: $i64(2 0 1) }", kInvalid,
     "class_indices.shape is [3]; wanted [2] or [2,1]"},
    {"labels_turned", "class_indices { dtype: DTYPE_I64 shape: [1, 2] data: $i64(2 0) }", kInvalid,
     "class_indices.shape is [1,2]; wanted [2] or [2,1]"},
    {"labels_rank_0", "class_indices { dtype: DTYPE_I64 data: $i64(2) }", kInvalid,
     "class_indices.shape is []; wanted [2] or [2,1]"},
    {"labels_rank_3", "class_indices { dtype: DTYPE_I64 shape: [2, 1, 1] data: $i64(2 0) }",
     kInvalid, "class_indices.shape is [2,1,1]; wanted [2] or [2,1]"},
    {"labels_one_hot", "class_indices { dtype: DTYPE_I64 shape: [2, 3] data: $zeros(48) }",
     kInvalid, "class_indices.shape is [2,3]; wanted [2] or [2,1]"},
    {"labels_for_another_axis",
     "spec { softmax {} class_axis: 0 }"
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(1 0) }",
     kInvalid, "class_indices.shape is [2]; wanted [3] or [1,3]"},
    {"labels_of_vector",
     "class_indices { dtype: DTYPE_I64 shape: 2 data: $i64(1 0) }"
     "predictions { dtype: DTYPE_F32 shape: 3 data: $f32(1 2 3) }",
     kInvalid, "class_indices.shape is [2]; wanted [] or [1]"},
    {"labels_layout",
     "class_indices { dtype: DTYPE_U8 shape: [2, 2] layout: LAYOUT_COLUMN_MAJOR data: $zeros(4) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3, 2] data: $zeros(48) }",
     kInvalid, "class_indices.layout is COLUMN_MAJOR; wanted ROW_MAJOR, the predictions' layout"},
    {"probabilities_i64", "class_probabilities { dtype: DTYPE_I64 shape: [2, 3] data: $zeros(48) }",
     kInvalid, "class_probabilities.dtype is i64; wanted f32, f64, f16 or bf16"},
    {"probabilities_shape",
     "class_probabilities { dtype: DTYPE_F32 shape: [3, 2] data: $zeros(24) }", kInvalid,
     "class_probabilities.shape is [3,2]; wanted the predictions' shape [2,3]"},
    {"probabilities_like_labels",
     "class_probabilities { dtype: DTYPE_F32 shape: 2 data: $zeros(8) }", kInvalid,
     "class_probabilities.shape is [2]; wanted the predictions' shape [2,3]"},
    {"probabilities_layout",
     "class_probabilities {"
     "  dtype: DTYPE_F32 shape: [2, 3] layout: LAYOUT_COLUMN_MAJOR data: $zeros(24) }",
     kInvalid, "class_probabilities.layout is COLUMN_MAJOR; wanted ROW_MAJOR"},
    {"class_weights_u64", "class_weights { dtype: DTYPE_U64 shape: 3 data: $zeros(24) }", kInvalid,
     "class_weights.dtype is u64; wanted f32, f64, f16 or bf16"},
    {"class_weights_rank_0", "class_weights { dtype: DTYPE_F32 data: $f32(1) }", kInvalid,
     "class_weights.shape is []; wanted [3] or the predictions' shape [2,3]"},
    {"class_weights_of_positions", "class_weights { dtype: DTYPE_F32 shape: 2 data: $f32(1 1) }",
     kInvalid, "class_weights.shape is [2]; wanted [3] or the predictions' shape [2,3]"},
    {"class_weights_one_by_classes",
     "class_weights { dtype: DTYPE_F32 shape: [1, 3] data: $f32(1 1 1) }", kInvalid,
     "class_weights.shape is [1,3]; wanted [3] or the predictions' shape [2,3]"},
    {"class_weights_of_image",
     "class_indices { dtype: DTYPE_U8 shape: [2, 8] data: $zeros(16) }"
     "class_weights { dtype: DTYPE_F32 shape: [3, 4] data: $zeros(48) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 10, 8] data: $zeros(640) }",
     kInvalid,
     "class_weights.shape is [3,4]; wanted [10], one sample's shape [10,8], or the predictions' "
     "shape [2,10,8]"},
    {"class_weights_of_image_column_major",
     "class_indices { dtype: DTYPE_U8 shape: [8, 2] layout: LAYOUT_COLUMN_MAJOR data: $zeros(16) }"
     "class_weights {"
     "  dtype: DTYPE_F32 shape: [10, 2] layout: LAYOUT_COLUMN_MAJOR data: $zeros(80) }"
     "predictions {"
     "  dtype: DTYPE_F32 shape: [8, 10, 2] layout: LAYOUT_COLUMN_MAJOR data: $zeros(640) }",
     kInvalid,
     "class_weights.shape is [10,2]; wanted [10], one sample's shape [8,10], or the predictions' "
     "shape [8,10,2]"},
    {"class_weights_of_sample_without_batch",
     "spec { softmax {} class_axis: 0 }"
     "class_indices { dtype: DTYPE_U8 shape: [3, 2] data: $zeros(6) }"
     "class_weights { dtype: DTYPE_F32 shape: [3, 2] data: $f32(1 1 1 1 1 1) }"
     "predictions { dtype: DTYPE_F32 shape: [4, 3, 2] data: $zeros(96) }",
     kInvalid, "class_weights.shape is [3,2]; wanted [4] or the predictions' shape [4,3,2]"},
    {"class_weights_of_vector",
     "class_indices { dtype: DTYPE_I64 data: $i64(1) }"
     "class_weights { dtype: DTYPE_F32 shape: 2 data: $f32(1 1) }"
     "predictions { dtype: DTYPE_F32 shape: 3 data: $f32(1 2 3) }",
     kInvalid, "class_weights.shape is [2]; wanted [3]"},
    {"class_weights_layout",
     "class_weights {"
     "  dtype: DTYPE_F32 shape: [2, 3] layout: LAYOUT_COLUMN_MAJOR data: $f32(1 1 1 1 1 1) }",
     kInvalid, "class_weights.layout is COLUMN_MAJOR; wanted ROW_MAJOR, the predictions' layout"},
    {"position_weights_i8", "position_weights { dtype: DTYPE_I8 shape: 2 data: $i8(1 1) }",
     kInvalid, "position_weights.dtype is i8; wanted f32, f64, f16 or bf16"},
    {"position_weights_shape", "position_weights { dtype: DTYPE_F32 shape: 3 data: $f32(1 1 1) }",
     kInvalid, "position_weights.shape is [3]; wanted [2] or [2,1]"},
    {"position_weights_layout",
     "class_indices { dtype: DTYPE_U8 shape: [2, 2] data: $zeros(4) }"
     "position_weights {"
     "  dtype: DTYPE_F32 shape: [2, 2] layout: LAYOUT_COLUMN_MAJOR data: $f32(1 1 1 1) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3, 2] data: $zeros(48) }",
     kInvalid, "position_weights.layout is COLUMN_MAJOR; wanted ROW_MAJOR"},
    {"upstream_gradient_u16", "upstream_gradient { dtype: DTYPE_U16 shape: 2 data: $u16(1 1) }",
     kInvalid, "upstream_gradient.dtype is u16; wanted f32, f64, f16 or bf16"},
    {"upstream_gradient_shape", "upstream_gradient { dtype: DTYPE_F32 shape: 1 data: $f32(1) }",
     kInvalid, "upstream_gradient.shape is [1]; wanted [2] or [2,1]"},
    {"upstream_gradient_layout",
     "class_indices { dtype: DTYPE_U8 shape: [2, 2] data: $zeros(4) }"
     "upstream_gradient {"
     "  dtype: DTYPE_F32 shape: [2, 2] layout: LAYOUT_COLUMN_MAJOR data: $f32(1 1 1 1) }"
     "predictions { dtype: DTYPE_F32 shape: [2, 3, 2] data: $zeros(48) }",
     kInvalid, "upstream_gradient.layout is COLUMN_MAJOR; wanted ROW_MAJOR"},
};

class Misfits : public testing::TestWithParam<Row> {};
TEST_P(Misfits, Refused) {
  ExpectRefused(RequestWith(GetParam().text), GetParam().code, GetParam().words);
}
INSTANTIATE_TEST_SUITE_P(Refusals, Misfits, testing::ValuesIn(kMisfits), NameOf);

}  // namespace
}  // namespace lossd::wire_test
