// Rows 43 and 56: memory that is not to be had, and memory that somebody else has used before.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using testing::Problem;

constexpr int kMaxAllocations = 400;

// How a call fared in a server some of whose allocations fail.
struct Fate {
  grpc::Status status;
  std::string reason;  // the trailer loss-reason
};

class FailingServer {
 public:
  // `count` allocations fail, from the n-th on.
  explicit FailingServer(int n, int count = 1)
      : process_({LOSSD_FAILING_SERVER, std::to_string(n), std::to_string(count)}) {
    const std::string line = process_.ReadLine().value_or("");
    address_ = line.substr(line.rfind(' ') + 1);
    stub_ = v1::LossService::NewStub(testing::Connect(address_));
  }

  // An answer that is OK is the right one, to the bit.
  Fate Try(bool stream) {
    Fate fate;
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(3)));
    context.set_wait_for_ready(true);  // for a new connection, where one was closed
    fate.status = stream ? TryStream(context) : TryUnary(context);
    const auto& trailers = context.GetServerTrailingMetadata();
    if (const auto found = trailers.find("loss-reason"); found != trailers.end()) {
      fate.reason = std::string(found->second.data(), found->second.size());
    }
    return fate;
  }

  bool lives() const { return StateOf(process_.pid()).rss_bytes > 0; }

 private:
  grpc::Status TryUnary(grpc::ClientContext& context) {
    v1::ComputeResponse response;
    grpc::Status status = stub_->Compute(&context, problem_.Request(), &response);
    if (status.ok()) {
      EXPECT_EQ(response.result().loss(), problem_.result.loss);
      ExpectGradient(response.gradient().data());
    }
    return status;
  }
  grpc::Status TryStream(grpc::ClientContext& context) {
    const auto call = stub_->ComputeStream(&context);
    for (const auto& part : {problem_.Header(), problem_.Weights(), problem_.Labels(),
                             problem_.Block(0, 3), problem_.Block(3, 3)}) {
      if (!call->Write(part)) break;
    }
    call->WritesDone();
    testing::StreamAnswer answer = testing::ReadAll(problem_, *call);
    if (answer.status.ok()) {
      EXPECT_EQ(answer.last.loss(), problem_.result.loss);
      EXPECT_EQ(answer.gradient, problem_.gradient);
    }
    return answer.status;
  }
  void ExpectGradient(const std::string& bytes) const {
    ASSERT_EQ(bytes.size(), problem_.gradient.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(bytes.data(), problem_.gradient.data(), bytes.size()), 0);
  }

  const Problem problem_{6, 50};
  Process process_;
  std::string address_;
  std::unique_ptr<v1::LossService::Stub> stub_;
};

class Allocations : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "built with little optimisation, our objects hold std::string's functions, and "
                    "gRPC's allocations through them fail, too";
#endif
  }
};

// Each allocation of our own in turn, from the connection to waiting for the next call: the call is
// answered, or refused as UNAVAILABLE, and the next one is answered. With LOSSD_TELL_WHERE in the
// environment the server says which allocation it was.
TEST_P(Allocations, Row43_TheNthFails) {
  int refused = 0;
  int not_connected = 0;
  int untouched = 0;
  std::vector<int> dead;
  std::vector<int> next_wrong;
  std::vector<std::string> other;
  for (int n = 1; n <= kMaxAllocations && untouched < 20; ++n) {
    FailingServer server(n);
    const Fate fate = server.Try(GetParam());
    untouched = fate.status.ok() ? untouched + 1 : 0;
    if (fate.status.error_code() == grpc::StatusCode::UNAVAILABLE && fate.reason == "OOM") {
      ++refused;
    } else if (fate.status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      ++not_connected;
    } else if (!fate.status.ok()) {
      other.push_back(absl::StrCat(n, ": ", fate.status.error_code(), " ",
                                   fate.status.error_message(), " ", fate.reason));
    }
    // It may be the next call that is hit, and then not the one behind it.
    const Fate next = server.Try(GetParam());
    const bool hit = fate.status.ok() && next.reason == "OOM";
    if (!next.status.ok() && !(hit && server.Try(GetParam()).status.ok())) next_wrong.push_back(n);
    if (!server.lives()) dead.push_back(n);
  }
  std::printf("  %d refused as OOM, %d closed connections\n", refused, not_connected);
  EXPECT_LT(not_connected, 15) << "those of the accept loop and no others";
  EXPECT_GT(refused, 5) << "nothing fails: is the linker's --wrap in force?";
  EXPECT_THAT(other, ::testing::IsEmpty());
  EXPECT_THAT(next_wrong, ::testing::IsEmpty());
  EXPECT_THAT(dead, ::testing::IsEmpty());
}

// For a while nothing is to be had at all: calls are refused or, at worst, given up by the caller;
// after that all is as before.
TEST_P(Allocations, Row43_NothingForAWhile) {
  int all_refused = 0;  // where all failures meet the accept loop, none is
  for (int n = 1; n <= 200; n += 13) {
    FailingServer server(n, /*count=*/40);
    // A call makes more than sixty allocations, one that is refused fails at three or so.
    constexpr int kCalls = 40;
    int refused = 0;
    for (int i = 0; i < kCalls; ++i) refused += server.Try(GetParam()).status.ok() ? 0 : 1;
    EXPECT_LT(refused, kCalls) << n;
    all_refused += refused;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(server.Try(GetParam()).status.ok()) << n;
    EXPECT_TRUE(server.lives()) << n;
  }
  EXPECT_GT(all_refused, 0);
}

INSTANTIATE_TEST_SUITE_P(Both, Allocations, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Stream" : "Unary"; });

class MemoryRows : public Row {};

// Gradients that are one number all over, large and small, fill the pool; no later answer has it.
TEST_F(MemoryRows, Row56_LeftoversOfOthers) {
  Serve();
  const float canary = -1234567.5F;
  const std::string pattern(reinterpret_cast<const char*>(&canary), sizeof canary);
  const auto stub = Stub();
  for (const int64_t rows : {10, 1000, 100'000, 500'000}) {
    v1::ComputeRequest request;
    request.mutable_spec()->mutable_nll();
    request.mutable_spec()->set_loss_weight(-canary);
    request.mutable_spec()->set_reduction(v1::REDUCTION_SUM);
    request.mutable_class_indices()->set_dtype(v1::DTYPE_I8);
    request.mutable_class_indices()->add_shape(rows);
    request.mutable_class_indices()->set_data(std::string(rows, '\0'));
    request.mutable_predictions()->set_dtype(v1::DTYPE_F32);
    request.mutable_predictions()->add_shape(rows);
    request.mutable_predictions()->add_shape(1);
    request.mutable_predictions()->set_data(std::string(rows * 4, '\0'));
    grpc::ClientContext context;
    v1::ComputeResponse response;
    ASSERT_TRUE(stub->Compute(&context, request, &response).ok());
    ASSERT_EQ(response.gradient().data().substr(0, 4), pattern);
  }
  const auto channel = testing::Connect(address());
  for (const int64_t rows : {1, 3, 7, 64, 1000, 5000}) {
    v1::ComputeRequest request = Problem(rows, 13).Request();
    v1::Outputs* const outputs = request.mutable_spec()->mutable_outputs();
    outputs->set_position_losses(true);
    outputs->set_log_sum_exp(true);
    outputs->set_argmax_hits(true);
    outputs->set_probabilities(true);
    testing::RawCall call(channel, "/lossd.v1.LossService/Compute", request.SerializeAsString());
    const std::optional<std::string> answer = call.Read();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->find(pattern), std::string::npos);
    EXPECT_TRUE(call.Finish().ok());
  }
}

}  // namespace
}  // namespace lossd
