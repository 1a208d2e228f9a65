// Rows 43 and 56: memory that is not to be had, and memory that somebody else has used before.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using testing::Problem;

constexpr int kMaxAllocations = 400;
constexpr size_t kKnownDeaths = 40;

// How a call fared in a server whose n-th allocation fails.
struct Fate {
  grpc::Status status;
  bool lives = false;  // and answers the next call
  bool stuck = false;  // the call had no answer within its deadline
};

class FailingServer {
 public:
  explicit FailingServer(int n) : process_({LOSSD_FAILING_SERVER, std::to_string(n)}) {
    const std::string line = process_.ReadLine().value_or("");
    address_ = line.substr(line.rfind(' ') + 1);
  }

  Fate Try(bool stream) {
    const Problem problem(6, 50);
    const auto stub = v1::LossService::NewStub(testing::Connect(address_));
    Fate fate;
    fate.status = Call(*stub, problem, stream);
    fate.stuck = fate.status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
    fate.lives = Call(*stub, problem, stream).ok() && StateOf(process_.pid()).rss_bytes > 0;
    return fate;
  }

 private:
  static grpc::Status Call(v1::LossService::Stub& stub, const Problem& problem, bool stream) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
    if (!stream) {
      v1::ComputeResponse response;
      return stub.Compute(&context, problem.Request(), &response);
    }
    const auto call = stub.ComputeStream(&context);
    for (const auto& part : {problem.Header(), problem.Weights(), problem.Labels(),
                             problem.Block(0, 3), problem.Block(3, 3)}) {
      if (!call->Write(part)) break;
    }
    call->WritesDone();
    return testing::ReadAll(problem, *call).status;
  }

  Process process_;
  std::string address_;
};

class Allocations : public ::testing::TestWithParam<bool> {};

// Each allocation of our own in turn: an UNAVAILABLE, and the server goes on. KNOWN DEFECT: what
// allocates outside of Guarded(), waiting for the next call and the end of a call with its log
// line, ends the process instead; how often is printed and may not grow.
TEST_P(Allocations, Row43_TheNthFails) {
  int refused = 0;
  int untouched = 0;
  std::vector<int> deaths;
  std::vector<int> stuck;
  std::vector<std::string> other;
  for (int n = 1; n <= kMaxAllocations && untouched < 5; ++n) {
    const Fate fate = FailingServer(n).Try(GetParam());
    untouched = fate.status.ok() ? untouched + 1 : 0;
    if (!fate.lives) {
      deaths.push_back(n);
    } else if (fate.stuck) {
      stuck.push_back(n);
    } else if (fate.status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      ++refused;
    } else if (!fate.status.ok()) {
      other.push_back(
          absl::StrCat(n, ": ", fate.status.error_code(), " ", fate.status.error_message()));
    }
  }
  std::printf("  %d refused as UNAVAILABLE; the server died of %zu, the call stuck at %zu\n",
              refused, deaths.size(), stuck.size());
  EXPECT_GT(refused, 5) << "nothing fails: is the linker's --wrap in force?";
  EXPECT_THAT(other, ::testing::IsEmpty());
  EXPECT_LE(deaths.size(), kKnownDeaths);
  EXPECT_THAT(stuck, ::testing::IsEmpty());
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
