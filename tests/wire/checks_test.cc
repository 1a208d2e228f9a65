// What decoding refuses, by code and by words: each row is a message that is right but for one
// thing.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "lossd/v1/loss.pb.h"
#include "protos/wire/request_codec.h"
#include "protos/wire/response_codec.h"
#include "tests/wire/slicing.h"

namespace lossd::wire {
namespace {

using google::protobuf::TextFormat;
using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

template <class Pb>
Message FromText(const std::string& text) {
  Pb parsed;
  EXPECT_TRUE(TextFormat::ParseFromString(text, &parsed)) << text;
  return Message(wire_test::InOneSlice(parsed.SerializeAsString()));
}

struct Row {
  const char* name;
  const char* text;
  absl::StatusCode code;
  const char* words;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }
std::string NameOf(const testing::TestParamInfo<Row>& info) { return info.param.name; }

#define SPEC "spec { softmax {} }"
#define TARGETS "class_indices { dtype: DTYPE_U8 shape: 2 data: 'ab' }"
#define PREDICTIONS "predictions { dtype: DTYPE_F16 shape: [2, 1] data: 'abcd' }"

const Row kRequests[] = {
    {"no_spec", TARGETS PREDICTIONS, kInvalid, "spec is not set"},
    {"no_loss", "spec {}" TARGETS PREDICTIONS, kInvalid, "spec.loss is not set"},
    {"no_targets", SPEC PREDICTIONS, kInvalid, "targets is not set"},
    {"no_predictions", SPEC TARGETS, kInvalid, "predictions is not set"},
    {"weight_normalization_unspecified",
     "spec { softmax {} weight_normalization: WEIGHT_NORMALIZATION_UNSPECIFIED }" TARGETS
         PREDICTIONS,
     kInvalid, "weight_normalization is WEIGHT_NORMALIZATION_UNSPECIFIED; wanted one of"},
    {"reduction_unspecified",
     "spec { softmax {} reduction: REDUCTION_UNSPECIFIED }" TARGETS PREDICTIONS, kInvalid,
     "reduction is REDUCTION_UNSPECIFIED; wanted one of REDUCTION_POSITIONS, REDUCTION_VALID"},
    {"reduction_unknown", "spec { softmax {} reduction: 99 }" TARGETS PREDICTIONS, kUnimplemented,
     "reduction is 99"},
    {"all_ignored_policy_unspecified",
     "spec { nll {} all_ignored_policy: ALL_IGNORED_POLICY_UNSPECIFIED }" TARGETS PREDICTIONS,
     kInvalid, "all_ignored_policy is ALL_IGNORED_POLICY_UNSPECIFIED; wanted one of"},
    {"non_finite_policy_unknown", "spec { nll {} non_finite_policy: -1 }" TARGETS PREDICTIONS,
     kUnimplemented, "non_finite_policy is -1"},
    {"gradient_dtype_unspecified",
     "spec { nll {} gradient_dtype: DTYPE_UNSPECIFIED }" TARGETS PREDICTIONS, kInvalid,
     "gradient_dtype is DTYPE_UNSPECIFIED; wanted one of DTYPE_F32"},
    {"gradient_dtype_unknown", "spec { nll {} gradient_dtype: 300 }" TARGETS PREDICTIONS,
     kUnimplemented, "gradient_dtype is 300"},
    {"dtype_missing", SPEC TARGETS "predictions { shape: [2, 1] data: 'abcd' }", kInvalid,
     "predictions.dtype is DTYPE_UNSPECIFIED; wanted one of"},
    {"dtype_unknown", SPEC "class_indices { dtype: 13 }" PREDICTIONS, kUnimplemented,
     "class_indices.dtype is 13"},
    {"dtype_before_rank",
     SPEC TARGETS "predictions { dtype: 77 shape: [1, 1, 1, 1, 1, 1, 1, 1, -1] }", kUnimplemented,
     "predictions.dtype is 77"},
    {"layout_unspecified",
     SPEC "class_probabilities { dtype: DTYPE_F32 layout: LAYOUT_UNSPECIFIED }" PREDICTIONS,
     kInvalid, "class_probabilities.layout is LAYOUT_UNSPECIFIED; wanted one of"},
    {"layout_unknown", SPEC TARGETS "predictions { dtype: DTYPE_F32 layout: 3 }", kUnimplemented,
     "predictions.layout is 3"},
    {"rank_nine",
     SPEC TARGETS "predictions { dtype: DTYPE_F16 shape: [1, 1, 1, 1, 1, 1, 1, 1, -1] }", kInvalid,
     "predictions.shape has rank 9; wanted at most 8"},
    {"negative_extent", SPEC TARGETS "predictions { dtype: DTYPE_F16 shape: [0, -1] }", kInvalid,
     "predictions.shape is [0,-1]; wanted extents of at least 0"},
    {"elements_overflow",
     SPEC TARGETS "predictions { dtype: DTYPE_F16 shape: [4294967296, 4294967296, 0] }", kInvalid,
     "predictions.shape is [4294967296,4294967296,0]; wanted extents whose product in bytes fits"},
    {"bytes_overflow",
     SPEC TARGETS "predictions { dtype: DTYPE_F64 shape: [2147483648, 1073741824] }", kInvalid,
     "predictions.shape is [2147483648,1073741824]; wanted extents whose product in bytes fits"},
    {"byte_missing", SPEC TARGETS "predictions { dtype: DTYPE_F16 shape: [2, 1] data: 'abc' }",
     kInvalid, "predictions.data has 3 bytes; wanted 4 for f16 of shape [2,1]"},
    {"byte_too_many", SPEC "class_indices { dtype: DTYPE_U8 shape: 2 data: 'abc' }" PREDICTIONS,
     kInvalid, "class_indices.data has 3 bytes; wanted 2"},
    {"rank_zero_has_one_element", SPEC "class_indices { dtype: DTYPE_U8 }" PREDICTIONS, kInvalid,
     "class_indices.data has 0 bytes; wanted 1"},
    {"class_weights",
     SPEC TARGETS "class_weights { dtype: DTYPE_F32 shape: 1 data: 'abc' }" PREDICTIONS, kInvalid,
     "class_weights.data has 3 bytes; wanted 4"},
    {"position_weights",
     SPEC TARGETS "position_weights { dtype: DTYPE_F32 shape: 1 data: 'abc' }" PREDICTIONS,
     kInvalid, "position_weights.data has 3 bytes; wanted 4"},
    {"upstream_gradient",
     SPEC TARGETS "upstream_gradient { dtype: DTYPE_F32 shape: 1 data: 'abc' }" PREDICTIONS,
     kInvalid, "upstream_gradient.data has 3 bytes; wanted 4"},
};

class Requests : public testing::TestWithParam<Row> {};

TEST_P(Requests, Refused) {
  const auto decoded = DecodeComputeRequest(FromText<v1::ComputeRequest>(GetParam().text));
  EXPECT_EQ(decoded.status().code(), GetParam().code);
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Checks, Requests, testing::ValuesIn(kRequests), NameOf);

TEST(Requests, RightButForNothing) {
  const auto decoded = DecodeComputeRequest(FromText<v1::ComputeRequest>(SPEC TARGETS PREDICTIONS));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->Descs().predictions, (TensorDesc{DType::kF16, {2, 1}, Layout::kRowMajor}));
  EXPECT_EQ(decoded->Descs().targets, (TensorDesc{DType::kU8, {2}, Layout::kRowMajor}));
  EXPECT_FALSE(decoded->Descs().class_weights.has_value());
}

const Row kParts[] = {
    {"no_part", "", kInvalid, "part is not set; wanted one of header, side_data, block"},
    {"no_request", "header {}", kInvalid, "header.request is not set"},
    {"data_in_header", "header { request { " SPEC TARGETS " predictions { dtype: DTYPE_F16 } } }",
     kInvalid, "class_indices.data has 2 bytes; wanted none in a stream's header"},
    {"rank_in_header",
     "header { request { " SPEC "class_indices { dtype: DTYPE_U8 shape: [1, 1, 1, 1, 1, 1, 1, 1, "
     "1] } predictions { dtype: DTYPE_F16 } } }",
     kInvalid, "class_indices.shape has rank 9"},
    {"kind_missing", "side_data { data: 'ab' }", kInvalid,
     "side_data.kind is KIND_UNSPECIFIED; wanted one of KIND_CLASS_WEIGHTS"},
    {"kind_unknown", "side_data { kind: 5 }", kUnimplemented, "side_data.kind is 5"},
    {"no_box", "block { predictions: 'ab' }", kInvalid, "block.box is not set"},
};

class Parts : public testing::TestWithParam<Row> {};

TEST_P(Parts, Refused) {
  const auto decoded = DecodeStreamRequest(FromText<v1::ComputeStreamRequest>(GetParam().text));
  EXPECT_EQ(decoded.status().code(), GetParam().code);
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Checks, Parts, testing::ValuesIn(kParts), NameOf);

// Whatever the text of the row, an answer that is wrong is kInternal.
constexpr auto kInternal = absl::StatusCode::kInternal;
const Row kResponses[] = {
    {"no_result", "", kInternal, "result is not set"},
    {"no_exact", "result {}", kInternal, "result.exact is not set"},
    {"negative_count", "result { valid_count: -1 exact {} }", kInternal, "valid_count is -1"},
    {"bad_sum", "result { exact { loss_sum { exponent: 1 magnitude: 'a' } } }", kInternal,
     "exponent is 1"},
    {"bad_tensor", "result { exact {} } gradient { dtype: DTYPE_F32 shape: 1 data: 'abc' }",
     kInternal, "gradient.data has 3 bytes; wanted 4"},
    {"unknown_dtype", "result { exact {} } log_sum_exp { dtype: 99 }", kInternal,
     "log_sum_exp.dtype is 99"},
};

class Responses : public testing::TestWithParam<Row> {};

TEST_P(Responses, Refused) {
  const auto decoded = DecodeComputeResponse(FromText<v1::ComputeResponse>(GetParam().text));
  EXPECT_EQ(decoded.status().code(), GetParam().code);
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Checks, Responses, testing::ValuesIn(kResponses), NameOf);

const Row kAnswers[] = {
    {"no_part", "", kInternal, "part is not set"},
    {"no_box", "block { sums {} }", kInternal, "block.box is not set"},
    {"no_sums", "block { box {} }", kInternal, "block.sums is not set"},
    {"negative_count", "block { box {} sums { position_count: -3 } }", kInternal,
     "position_count is -3"},
    {"long_sum_field",
     "block { box {} sums { weight_sum { exponent: 0 magnitude: '\\000\\000' } } }", kInternal,
     "shortest form"},
    {"summary_without_exact", "summary {}", kInternal, "result.exact is not set"},
};

class Answers : public testing::TestWithParam<Row> {};

TEST_P(Answers, Refused) {
  const auto decoded = DecodeStreamResponse(FromText<v1::ComputeStreamResponse>(GetParam().text));
  EXPECT_EQ(decoded.status().code(), GetParam().code);
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(GetParam().words));
}
INSTANTIATE_TEST_SUITE_P(Checks, Answers, testing::ValuesIn(kAnswers), NameOf);

// As many boxes as may be, of the largest size that they have, and one more.
TEST(Boxes, AreLimited) {
  v1::ComputeStreamRequest part;
  EXPECT_TRUE(TextFormat::ParseFromString(
      "header { request { " SPEC
      "class_indices { dtype: DTYPE_U8 } predictions { dtype: DTYPE_F16 } } }",
      &part));
  const auto decode = [&] {
    return DecodeStreamRequest(Message(wire_test::InOneSlice(part.SerializeAsString())));
  };
  for (int i = 0; i < kMaxBoxes; ++i) {
    v1::Box& box = *part.mutable_header()->add_boxes();
    box.set_outer_begin(-1);
    box.set_outer_count(-2);
    box.set_inner_begin(-3);
    box.set_inner_count(-4);
  }
  const auto decoded = decode();
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<DecodedHeader>(*decoded).boxes.size(), static_cast<size_t>(kMaxBoxes));
  part.mutable_header()->add_boxes();
  const absl::Status refused = decode().status();
  EXPECT_EQ(refused.code(), kInvalid);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("header.boxes has 65537 entries; wanted at most 65536"));
}

// Small fields that would grow when parsed are refused by their size, in either parsing path.
TEST(SmallFields, AreLimited) {
  v1::ComputeRequest request;
  ASSERT_TRUE(TextFormat::ParseFromString(SPEC TARGETS PREDICTIONS, &request));
  const std::string right = request.SerializeAsString();
  for (int i = 0; i < kMaxSmallBytes; ++i) request.mutable_spec()->add_ignore_labels(1);
  const std::string packed = request.SerializeAsString();
  std::string repeated = right;
  for (int i = 0; i < kMaxSmallBytes; ++i) repeated.append("\x3a\x00", 2);  // empty predictions
  for (const std::string& bytes : {packed, repeated}) {
    const absl::Status refused =
        DecodeComputeRequest(Message(wire_test::InOneSlice(bytes))).status();
    EXPECT_EQ(refused.code(), kInvalid);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("too many beside its tensors' data"));
  }
}

}  // namespace
}  // namespace lossd::wire
