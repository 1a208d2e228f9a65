// Rows 1-19 and 21: what requests hold. That each fault is found, and how it is worded, is the
// business of tests/wire; here it travels to a real server, which must not be the worse for it.
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using testing::Connect;
using ::testing::HasSubstr;
using testing::Problem;
using testing::RawCall;

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Two rows of three classes.
v1::ComputeRequest Right() {
  v1::ComputeRequest request;
  request.mutable_spec()->mutable_softmax();
  v1::Tensor* const labels = request.mutable_class_indices();
  labels->set_dtype(v1::DTYPE_I64);
  labels->add_shape(2);
  labels->set_data(Bytes<int64_t>({2, 0}));
  v1::Tensor* const predictions = request.mutable_predictions();
  predictions->set_dtype(v1::DTYPE_F32);
  predictions->add_shape(2);
  predictions->add_shape(3);
  predictions->set_data(Bytes<float>({1, 2, 3, 0.5, -1, 0}));
  return request;
}

v1::Tensor Weights(const std::vector<double>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_F64);
  tensor.add_shape(static_cast<int64_t>(values.size()));
  tensor.set_data(Bytes(values));
  return tensor;
}

using Shape = std::vector<int64_t>;
void Reshape(v1::ComputeRequest& request, const Shape& shape) {
  request.mutable_predictions()->mutable_shape()->Assign(shape.begin(), shape.end());
}

struct Fault {
  const char* name;
  std::function<void(v1::ComputeRequest&)> make;
  grpc::StatusCode code;
  const char* words;
  bool in_header = true;  // false: it is in the data, which a stream's header has not
};

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
constexpr auto kTooLarge = grpc::StatusCode::RESOURCE_EXHAUSTED;
constexpr auto kUnknown = grpc::StatusCode::UNIMPLEMENTED;
using Request = v1::ComputeRequest;

const Fault kFaults[] = {
    {"Row01_RankNine", [](Request& r) { Reshape(r, Shape(9, 1)); }, kInvalid, "predictions.shape"},
    {"Row01_RankZero", [](Request& r) { Reshape(r, {}); }, kInvalid, "predictions"},
    {"Row02_Negative",
     [](Request& r) {
       Reshape(r, {2, -1});
     },
     kInvalid, "predictions.shape"},
    {"Row02_MostNegative",
     [](Request& r) {
       Reshape(r, {INT64_MIN, 3});
     },
     kInvalid, "predictions.shape"},
    {"Row03_NoClasses",
     [](Request& r) {
       Reshape(r, {2, 0});
     },
     kInvalid, "predictions", false},
    {"Row04_ProductWrapsToZero",
     [](Request& r) {
       Reshape(r, {int64_t{1} << 32, int64_t{1} << 32});
     },
     kInvalid, "predictions.shape"},
    {"Row04_ProductWrapsToTwo",
     [](Request& r) {
       Reshape(r, {3, 6148914691236517206});
     },
     kInvalid, "predictions.shape"},
    {"Row04_BytesWrap",
     [](Request& r) {
       Reshape(r, {int64_t{1} << 62, 4});
     },
     kInvalid, "predictions.shape"},
    {"Row06_ByteMissing", [](Request& r) { r.mutable_predictions()->mutable_data()->pop_back(); },
     kInvalid, "predictions", false},
    {"Row06_ByteTooMany", [](Request& r) { r.mutable_predictions()->mutable_data()->push_back(0); },
     kInvalid, "predictions", false},
    {"Row06_ElementMissing",
     [](Request& r) { r.mutable_predictions()->mutable_data()->resize(20); }, kInvalid,
     "predictions", false},
    {"Row06_Twice",
     [](Request& r) { *r.mutable_predictions()->mutable_data() += r.predictions().data(); },
     kInvalid, "predictions", false},
    {"Row08_DTypeZero", [](Request& r) { r.mutable_predictions()->clear_dtype(); }, kInvalid,
     "predictions.dtype"},
    {"Row08_DTypeUnknown",
     [](Request& r) { r.mutable_predictions()->set_dtype(static_cast<v1::DType>(99)); }, kUnknown,
     "predictions.dtype"},
    {"Row08_DTypeNegative",
     [](Request& r) { r.mutable_predictions()->set_dtype(static_cast<v1::DType>(-1)); }, kUnknown,
     "predictions.dtype"},
    {"Row08_ReductionUnknown",
     [](Request& r) { r.mutable_spec()->set_reduction(static_cast<v1::Reduction>(INT32_MAX)); },
     kUnknown, "reduction"},
    {"Row08_NoLoss", [](Request& r) { r.mutable_spec()->clear_loss(); }, kInvalid, "loss"},
    {"Row09_StrictNan",
     [](Request& r) {
       r.mutable_spec()->set_non_finite_policy(v1::NON_FINITE_POLICY_ERROR);
       r.mutable_predictions()->set_data(Bytes<float>({1, 2, 3, 0.5, kNan, 0}));
     },
     kInvalid, "1", false},
    {"Row11_LabelTooLarge",
     [](Request& r) {
       r.mutable_class_indices()->set_data(Bytes<int64_t>({2, 3}));
     },
     kInvalid, "[1]", false},
    {"Row11_LabelNegative",
     [](Request& r) {
       r.mutable_class_indices()->set_data(Bytes<int64_t>({-1, 3}));
     },
     kInvalid, "[0]", false},
    {"Row11_LabelMostNegative",
     [](Request& r) {
       r.mutable_class_indices()->set_data(Bytes<int64_t>({2, INT64_MIN}));
     },
     kInvalid, "[1]", false},
    {"Row12_FractionalLabel",
     [](Request& r) {
       r.mutable_class_indices()->set_dtype(v1::DTYPE_F64);
       r.mutable_class_indices()->set_data(Bytes<double>({2, 0.5}));
     },
     kInvalid, "[1]", false},
    {"Row12_LabelsOfAnotherShape",
     [](Request& r) {
       r.mutable_class_indices()->set_shape(0, 3);
       r.mutable_class_indices()->set_data(Bytes<int64_t>({2, 0, 1}));
     },
     kInvalid, "class_indices", false},
    {"Row14_NegativeWeight",
     [](Request& r) {
       *r.mutable_class_weights() = Weights({1, -1, 1});
     },
     kInvalid, "class_weights", false},
    {"Row14_NanWeight",
     [](Request& r) {
       *r.mutable_position_weights() = Weights({1, kNan});
     },
     kInvalid, "position_weights", false},
    {"Row14_InfiniteWeight",
     [](Request& r) {
       *r.mutable_class_weights() = Weights({1, kInf, 1});
     },
     kInvalid, "class_weights", false},
    {"Row14_WeightMissing",
     [](Request& r) {
       *r.mutable_class_weights() = Weights({1, 1});
     },
     kInvalid, "class_weights", false},
    {"Row15_Smoothing", [](Request& r) { r.mutable_spec()->set_label_smoothing(1.5); }, kInvalid,
     "label_smoothing"},
    {"Row15_LossWeight", [](Request& r) { r.mutable_spec()->set_loss_weight(kNan); }, kInvalid,
     "loss_weight"},
    {"Row15_GradientScale", [](Request& r) { r.mutable_spec()->set_gradient_scale(kInf); },
     kInvalid, "gradient_scale"},
    {"Row15_LogFloor", [](Request& r) { r.mutable_spec()->mutable_softmax()->set_log_floor(-1); },
     kInvalid, "log_floor"},
};

void ExpectRefusal(const grpc::Status& status, const Fault& fault) {
  EXPECT_EQ(status.error_code(), fault.code) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr(fault.words));
}

std::string HeaderOf(v1::ComputeRequest request) {
  for (v1::Tensor* tensor : {request.mutable_predictions(), request.mutable_class_indices()}) {
    tensor->clear_data();
  }
  if (request.has_class_weights()) request.mutable_class_weights()->clear_data();
  v1::ComputeStreamRequest part;
  *part.mutable_header()->mutable_request() = std::move(request);
  return part.SerializeAsString();
}

class ContentRows : public Row {};

TEST_F(ContentRows, Rows01to15_EveryFaultIsRefusedInBothWays) {
  Serve();
  const auto channel = Connect(address());
  for (const Fault& fault : kFaults) {
    SCOPED_TRACE(fault.name);
    v1::ComputeRequest request = Right();
    fault.make(request);
    ExpectRefusal(testing::StatusOf(channel, kCompute, request.SerializeAsString()), fault);
    if (fault.in_header) {
      ExpectRefusal(testing::StatusOf(channel, kStream, HeaderOf(request)), fault);
    }
  }
}

// A tensor that no server has room for, but that is a tensor.
TEST_F(ContentRows, Row05_AbsurdSize) {
  Serve();
  v1::ComputeRequest request = Right();
  Reshape(request, {int64_t{1} << 38, 4});
  request.mutable_class_indices()->set_shape(0, int64_t{1} << 38);
  request.mutable_class_indices()->set_dtype(v1::DTYPE_I8);
  const absl::Time begin = absl::Now();
  const grpc::Status status = testing::StatusOf(Connect(address()), kStream, HeaderOf(request));
  EXPECT_EQ(status.error_code(), kTooLarge) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("the most this server takes"));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));  // what looks at each element takes minutes
  EXPECT_LT(sentinel().grown_bytes(), 16 << 20);
}

TEST_F(ContentRows, Row03_NoPositionsIsAnAnswer) {
  Serve();
  v1::ComputeRequest request = Right();
  Reshape(request, {0, 3});
  request.mutable_predictions()->clear_data();
  request.mutable_class_indices()->set_shape(0, 0);
  request.mutable_class_indices()->clear_data();
  grpc::ClientContext context;
  v1::ComputeResponse response;
  ASSERT_TRUE(Stub()->Compute(&context, request, &response).ok());
  EXPECT_EQ(response.result().loss(), 0);
  EXPECT_TRUE(response.gradient().data().empty());
}

// The predictions begin at every offset within 64 bytes: labels that occur nowhere are listed in
// front of them.
TEST_F(ContentRows, Row07_OddAddresses) {
  Serve();
  const auto stub = Stub();
  std::string want;
  for (int shift = 0; shift < 64; ++shift) {
    v1::ComputeRequest request = Right();
    for (int i = 0; i < shift; ++i) request.mutable_spec()->add_ignore_labels(100);
    grpc::ClientContext context;
    v1::ComputeResponse response;
    ASSERT_TRUE(stub->Compute(&context, request, &response).ok());
    if (shift == 0) want = response.gradient().data();
    ASSERT_EQ(response.gradient().data(), want) << shift;
  }
}

// A NaN makes its own row NaN and counts; -inf masks a class, to the bit.
TEST_F(ContentRows, Rows09and10_NonFiniteNumbers) {
  Serve();
  v1::ComputeRequest request = Right();
  grpc::ClientContext first, second;
  v1::ComputeResponse clean, spoilt;
  ASSERT_TRUE(Stub()->Compute(&first, request, &clean).ok());
  request.mutable_predictions()->set_data(Bytes<float>({1, kNan, 3, 0.5, -1, 0}));
  ASSERT_TRUE(Stub()->Compute(&second, request, &spoilt).ok());
  EXPECT_EQ(spoilt.result().nonfinite_count(), 1);
  EXPECT_EQ(spoilt.gradient().data().substr(12), clean.gradient().data().substr(12));
  float row[3];
  std::memcpy(row, spoilt.gradient().data().data(), sizeof row);
  for (const float x : row) EXPECT_TRUE(std::isnan(x));

  request.mutable_predictions()->set_data(Bytes<float>({1, -kInf, 3, 0.5, -1, 0}));
  grpc::ClientContext third;
  v1::ComputeResponse masked;
  ASSERT_TRUE(Stub()->Compute(&third, request, &masked).ok());
  EXPECT_EQ(masked.gradient().data().substr(4, 4), std::string(4, '\0'));  // +0
  EXPECT_TRUE(std::isfinite(masked.result().loss()));
}

TEST_F(ContentRows, Row13_EverythingIgnored) {
  Serve();
  v1::ComputeRequest request = Right();
  request.mutable_spec()->add_ignore_labels(0);
  request.mutable_spec()->add_ignore_labels(2);
  request.mutable_spec()->set_reduction(v1::REDUCTION_VALID);
  grpc::ClientContext context;
  v1::ComputeResponse response;
  ASSERT_TRUE(Stub()->Compute(&context, request, &response).ok());
  EXPECT_EQ(response.result().loss(), 0);
  EXPECT_EQ(response.result().valid_count(), 0);
  EXPECT_EQ(response.gradient().data(), std::string(24, '\0'));
}

TEST_F(ContentRows, Row16_EmptyMessage) {
  Serve();
  const auto channel = Connect(address());
  EXPECT_EQ(testing::StatusOf(channel, kCompute, "").error_code(), kInvalid);
  EXPECT_EQ(testing::StatusOf(channel, kStream, "").error_code(), kInvalid);
}

TEST_F(ContentRows, Row18_CutAnywhere) {
  Serve();
  const auto channel = Connect(address());
  const Problem problem(3, 7);
  const std::string unary = problem.Request().SerializeAsString();
  const std::string header = problem.Header().SerializeAsString();
  for (const auto& [method, message] : {std::pair(kCompute, unary), std::pair(kStream, header)}) {
    for (size_t size = 0; size < message.size(); ++size) {
      const grpc::Status status = testing::StatusOf(channel, method, message.substr(0, size));
      ASSERT_EQ(status.error_code(), kInvalid) << size << ": " << status.error_message();
    }
  }
}

// Protobuf that costs more to read than to send: refused, at a bounded price.
TEST_F(ContentRows, Row19_DeepAndRepetitive) {
  Serve();
  const auto channel = Connect(address());
  const auto repeat = [](const std::string& piece, int times) {
    std::string text;
    for (int i = 0; i < times; ++i) text += piece;
    return text;
  };
  const std::string right = Right().SerializeAsString();
  v1::ComputeRequest spec_only;
  spec_only.mutable_spec()->mutable_softmax();
  const std::pair<const char*, std::string> messages[] = {
      {"groups", right + repeat("\x7b", 4000) + repeat("\x7c", 4000)},
      {"unknown fields", right + repeat("\xfa\x01\x02xy", 800'000)},
      {"one field again and again", right + repeat(spec_only.SerializeAsString(), 100'000)},
      {"empty entries", right + repeat(std::string("\x22\x00", 2), 1'000'000)},
  };
  for (const auto& [name, message] : messages) {
    SCOPED_TRACE(name);
    const absl::Duration before = StateOf(pid()).cpu;
    const grpc::Status status = testing::StatusOf(channel, kCompute, message);
    EXPECT_EQ(status.error_code(), kInvalid) << status.error_message();
    const double mib = static_cast<double>(message.size()) / (1 << 20);
    // The victim's calls are in it: 0.4 s are theirs.
    EXPECT_LT(StateOf(pid()).cpu - before, absl::Seconds(0.4) + absl::Milliseconds(25) * mib);
  }
}

// A compressed message, of a client that compresses, is refused before anything is inflated.
TEST_F(ContentRows, Row21_CompressedMessages) {
  Serve();
  v1::ComputeRequest bomb = Right();
  bomb.mutable_predictions()->set_data(std::string(32 << 20, '\0'));
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    v1::ComputeResponse response;
    const grpc::Status status = Stub()->Compute(&context, bomb, &response);
    EXPECT_THAT(status.error_code(), ::testing::AnyOf(kUnknown, kInvalid))
        << status.error_message();
    EXPECT_LT(sentinel().grown_bytes(), 8 << 20);
  }
}

}  // namespace
}  // namespace lossd
