// Shared memory and clients that are up to no good: the server goes on, nobody else's bits change,
// and memory and descriptors go back to where they were.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/metrics/process_state.h"
#include "tests/server/harness.h"
#include "tests/server/raw_region.h"
#include "tests/support/temp_dir.h"

namespace lossd::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBudget = int64_t{1} << 28;

class SharedMemory : public ::testing::Test {
 protected:
  SharedMemory() {
    ServerOptions options = AnyPort();
    options.shared_memory = "unix:" + Path();
    options.memory_budget = kBudget;
    server_ = StartServer(options);
    stub_ = StubFor(*server_);
    base_ = OpenDescriptors();
  }

  // What a bystander gets is right, and nothing is left of what others did.
  ~SharedMemory() override {
    const Problem problem(9, 11);
    grpc::ClientContext context;
    v1::ComputeResponse response;
    EXPECT_TRUE(stub_->Compute(&context, problem.Request(), &response).ok());
    EXPECT_EQ(response.result().loss(), problem.result.loss);
    WaitUntil([this] {
      return server_->shared_regions() == 0 && server_->admission().granted_bytes == 0 &&
             server_->live_calls() == 0;
    });
    WaitUntil([this] { return OpenDescriptors() <= base_ + kConnectionOfTheStub; });
  }

  std::string Path() const { return folder_.Path("regions"); }

  // The problem with predictions at `offset` and the gradient at `into`, which may be the same.
  static v1::ComputeRequest RequestIn(const Problem& problem, const std::string& token,
                                      uint64_t offset, uint64_t into) {
    v1::ComputeRequest request = problem.Request();
    v1::Tensor* const predictions = request.mutable_predictions();
    predictions->clear_data();
    predictions->mutable_region()->set_token(token);
    predictions->mutable_region()->set_offset(offset);
    v1::Region* const gradient =
        request.mutable_spec()->mutable_outputs()->mutable_gradient_region();
    gradient->set_token(token);
    gradient->set_offset(into);
    return request;
  }

  grpc::Status Compute(const v1::ComputeRequest& request, v1::ComputeResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::ComputeResponse ignored;
    return stub_->Compute(&context, request, response == nullptr ? &ignored : response);
  }

  static constexpr int64_t kConnectionOfTheStub = 4;

  TempDir folder_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::LossService::Stub> stub_;
  int64_t base_ = 0;
};

void Fill(const Problem& problem, std::byte* at) {
  std::memcpy(at, problem.predictions.data(), problem.predictions.size() * sizeof(float));
}

bool HasGradient(const Problem& problem, const std::byte* at) {
  return std::memcmp(at, problem.gradient.data(), problem.gradient.size() * sizeof(float)) == 0;
}

TEST_F(SharedMemory, OnlyItsUserMayConnect) {
  struct stat file {};
  ASSERT_EQ(stat(Path().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

// Also where the modes of files would let others in.
TEST_F(SharedMemory, OtherUsersAreSentAway) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const RawMemory memory(4096);
  const std::string path = Path();
  for (std::string open = path; open.size() > 1; open = open.substr(0, open.rfind('/'))) {
    if (open != "/tmp") chmod(open.c_str(), 0777);
  }
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(2);
    const absl::StatusCode code = RawRegion(path).Share(memory).code;
    _exit(code == absl::StatusCode::kPermissionDenied ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(SharedMemory, AnAnswerSaysWhereTheGradientIs) {
  const Problem problem(50, 60);
  const RawMemory memory(1 << 20);
  RawRegion region(Path());
  const RawRegion::Answer answer = region.Share(memory);
  ASSERT_EQ(answer.code, absl::StatusCode::kOk) << answer.body;
  EXPECT_EQ(answer.body.size(), 16u);
  Fill(problem, memory.data());
  v1::ComputeResponse response;
  const grpc::Status status = Compute(RequestIn(problem, answer.body, 0, 1 << 16), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.result().loss(), problem.result.loss);
  EXPECT_TRUE(HasGradient(problem, memory.data() + (1 << 16)));
  EXPECT_EQ(response.gradient().data(), "");
  EXPECT_EQ(response.gradient().region().token(), answer.body);
  EXPECT_EQ(response.gradient().region().offset(), 1u << 16);
  EXPECT_EQ(response.gradient().dtype(), v1::DTYPE_F32);
}

TEST_F(SharedMemory, MemoryThatCouldGoAwayIsRefused) {
  const auto refused = [this](const RawMemory& memory, const char* why) {
    RawRegion region(Path());
    const RawRegion::Answer answer = region.Share(memory);
    EXPECT_EQ(answer.code, absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(answer.body, HasSubstr(why));
  };
  refused(RawMemory(1 << 20, 0), "seals");
  refused(RawMemory(1 << 20, F_SEAL_SHRINK | F_SEAL_GROW), "F_SEAL_SEAL");
  refused(RawMemory(1 << 20, F_SEAL_GROW | F_SEAL_SEAL), "F_SEAL_SHRINK");
  refused(RawMemory(1 << 20, F_SEAL_SHRINK | F_SEAL_SEAL), "F_SEAL_GROW");
  refused(RawMemory(0), "empty");
  const RawMemory huge(2 << 20, RawMemory::kSealed, MFD_HUGETLB);
  if (huge.descriptor() >= 0) refused(huge, "huge pages");
}

TEST_F(SharedMemory, WhatIsNoMemoryIsRefused) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const int file = open(folder_.Write("file", "text").c_str(), O_RDWR | O_CLOEXEC);
  for (const int descriptor : {ends[0], file}) {
    RawRegion region(Path());
    ASSERT_TRUE(region.Send("lossdSM1", {descriptor}));
    EXPECT_EQ(region.Receive()->code, absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(region.Receive(), std::nullopt);
  }
  RawRegion without(Path());
  ASSERT_TRUE(without.Send("lossdSM1", {}));
  EXPECT_THAT(without.Receive()->body, HasSubstr("without a descriptor"));
  for (const int descriptor : {ends[0], ends[1], file}) close(descriptor);
}

// Truncation is what ends a process that trusts unsealed memory.
TEST_F(SharedMemory, SealedMemoryCannotBeCut) {
  const Problem problem(50, 60);
  const RawMemory memory(1 << 20);
  RawRegion region(Path());
  const std::string token = region.Share(memory).body;
  Fill(problem, memory.data());
  EXPECT_NE(ftruncate(memory.descriptor(), 0), 0);
  // Holes may be cut: the server finds zeroes there.
  ASSERT_EQ(fallocate(memory.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20),
            0);
  EXPECT_TRUE(Compute(RequestIn(problem, token, 0, 1 << 16)).ok());
}

TEST_F(SharedMemory, PlacesThatAreNotThereAreRefused) {
  const Problem problem(50, 60);  // 12000 bytes
  const RawMemory memory(1 << 14);
  RawRegion region(Path());
  const std::string token = region.Share(memory).body;
  const auto refused = [&](uint64_t offset, uint64_t into, const char* why) {
    const grpc::Status status = Compute(RequestIn(problem, token, offset, into));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(why));
  };
  refused(4416, 4416, "its region has 16384");
  refused(1 << 14, 0, "its region has 16384");
  refused(1 << 20, 0, "its region has 16384");
  refused(uint64_t{0} - 64, 0, "its region has 16384");
  refused(uint64_t{1} << 63, 0, "its region has 16384");
  refused(0, uint64_t{0} - 64, "gradient takes");
  refused(8, 8, "multiple of 64");
  refused(0, 32, "multiple of 64");
  refused(0, 64, "gradient overlaps predictions");
  Fill(problem, memory.data());
  EXPECT_TRUE(Compute(RequestIn(problem, token, 4352, 4352)).ok());
}

TEST_F(SharedMemory, OverlapsAreSeenThroughASecondRegionOfTheSameMemory) {
  const Problem problem(50, 60);
  const RawMemory memory(1 << 14);
  RawRegion region(Path());
  RawRegion again(Path());
  v1::ComputeRequest request = RequestIn(problem, region.Share(memory).body, 0, 64);
  request.mutable_spec()->mutable_outputs()->mutable_gradient_region()->set_token(
      again.Share(memory).body);
  EXPECT_THAT(Compute(request).error_message(), HasSubstr("gradient overlaps predictions"));
}

TEST_F(SharedMemory, ReadOnlyMemoryTakesNoGradient) {
  const Problem problem(50, 60);
  const RawMemory memory(1 << 16, RawMemory::kSealed | F_SEAL_FUTURE_WRITE);
  RawRegion region(Path());
  const RawRegion::Answer answer = region.Share(memory);
  ASSERT_EQ(answer.code, absl::StatusCode::kOk) << answer.body;
  Fill(problem, memory.data());
  v1::ComputeRequest request = RequestIn(problem, answer.body, 0, 0);
  EXPECT_THAT(Compute(request).error_message(), HasSubstr("may only be read"));
  request.mutable_spec()->clear_outputs();
  v1::ComputeResponse response;
  ASSERT_TRUE(Compute(request, &response).ok());
  EXPECT_EQ(response.gradient().data().size(), problem.gradient.size() * sizeof(float));
}

TEST_F(SharedMemory, WhatDecidesAnIndexTravelsInTheMessage) {
  const Problem problem(50, 60);
  const RawMemory memory(1 << 16);
  RawRegion region(Path());
  const std::string token = region.Share(memory).body;
  for (v1::Tensor* (v1::ComputeRequest::*field)() :
       {&v1::ComputeRequest::mutable_class_indices, &v1::ComputeRequest::mutable_class_weights,
        &v1::ComputeRequest::mutable_position_weights, &v1::ComputeRequest::mutable_class_bias,
        &v1::ComputeRequest::mutable_upstream_gradient,
        &v1::ComputeRequest::mutable_sequence_lengths}) {
    v1::ComputeRequest request = problem.Request();
    v1::Tensor* const tensor = (request.*field)();
    tensor->set_dtype(v1::DTYPE_I64);
    tensor->clear_data();
    tensor->mutable_region()->set_token(token);
    const grpc::Status status = Compute(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(".region is set; wanted none"));
  }
}

TEST_F(SharedMemory, StreamsNameNoRegion) {
  const Problem problem(50, 60);
  v1::ComputeStreamRequest header = problem.Header();
  header.mutable_header()->mutable_request()->mutable_predictions()->mutable_region()->set_token(
      std::string(16, 'x'));
  grpc::ClientContext context;
  const auto stream = stub_->ComputeStream(&context);
  stream->Write(header);
  EXPECT_THAT(ReadAll(problem, *stream).status.error_message(),
              HasSubstr("predictions.region is set; wanted none"));
}

TEST_F(SharedMemory, TokensThatNobodyHasAreUnknown) {
  const Problem problem(50, 60);
  const RawMemory memory(1 << 16);
  std::string token;
  {
    RawRegion region(Path());
    token = region.Share(memory).body;
    std::string near = token;
    near.back() = static_cast<char>(near.back() ^ 1);
    for (const std::string& guess : {near, std::string(16, '\0')}) {
      grpc::ClientContext context;
      v1::ComputeResponse response;
      const grpc::Status status =
          stub_->Compute(&context, RequestIn(problem, guess, 0, 0), &response);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
      EXPECT_EQ(context.GetServerTrailingMetadata().find("loss-reason")->second, "UNKNOWN_REGION");
    }
    EXPECT_THAT(Compute(RequestIn(problem, "short", 0, 0)).error_message(),
                HasSubstr("5 bytes; wanted 16"));
  }
  WaitUntil([this] { return server_->shared_regions() == 0; });
  EXPECT_EQ(Compute(RequestIn(problem, token, 0, 0)).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(SharedMemory, MoreThanTheLimitsIsRefused) {
  const RawMemory large(kBudget / 2);
  EXPECT_EQ(RawRegion(Path()).Share(large).code, absl::StatusCode::kResourceExhausted);
  const RawMemory declared(int64_t{1} << 45);
  EXPECT_EQ(RawRegion(Path()).Share(declared).code, absl::StatusCode::kResourceExhausted);
  const RawMemory small(4096);
  std::vector<std::unique_ptr<RawRegion>> regions;
  for (int i = 0; i < 64; ++i) {
    regions.push_back(std::make_unique<RawRegion>(Path()));
    ASSERT_EQ(regions.back()->Share(small).code, absl::StatusCode::kOk) << i;
  }
  EXPECT_EQ(RawRegion(Path()).Share(small).code, absl::StatusCode::kResourceExhausted);
}

TEST_F(SharedMemory, DescriptorsByTheHundredAreClosed) {
  const RawMemory memory(4096);
  for (int round = 0; round < 50; ++round) {
    RawRegion region(Path());
    region.Send("lossdSM1", std::vector<int>(250, memory.descriptor()));
    EXPECT_EQ(region.Receive(), std::nullopt);
  }
  RawRegion one_by_one(Path());
  for (int i = 0; i < 8; ++i) one_by_one.Send("l", {memory.descriptor()});
  EXPECT_EQ(one_by_one.Receive(), std::nullopt);
  RawRegion more(Path());
  ASSERT_EQ(more.Share(memory).code, absl::StatusCode::kOk);
  more.Send("q", {memory.descriptor()});
  EXPECT_EQ(more.Receive(), std::nullopt);
}

TEST_F(SharedMemory, OtherWordsEndTheConnection) {
  const RawMemory memory(4096);
  for (const char* const words : {"GET / HTTP/1.1\r\n", "lossdSM2", "lossdSM1lossdSM1", "q"}) {
    RawRegion region(Path());
    region.Send(words, {memory.descriptor()});
    EXPECT_EQ(region.Receive(), std::nullopt) << words;
  }
  // In pieces it is the same request.
  RawRegion region(Path());
  region.Send("loss", {});
  region.Send("dSM", {memory.descriptor()});
  region.Send("1", {});
  EXPECT_EQ(region.Receive()->code, absl::StatusCode::kOk);
}

// Numbers may come out wrong, and nothing else may happen: for ThreadSanitizer and AddressSanitizer
// too, which do not see the writes of another mapping.
TEST_F(SharedMemory, ContentsMayChangeDuringACall) {
  const Problem problem(64, 500);
  constexpr int64_t kTensor = 1 << 18;
  const RawMemory memory(4 * kTensor);
  RawRegion region(Path());
  const std::string token = region.Share(memory).body;
  std::atomic<bool> stop{false};
  std::thread changes([&] {
    const uint32_t patterns[] = {0, 0x7fc00000, 0x7f800000, 0xff800000, 0x42c80000, 0xc2c80000};
    for (uint32_t i = 0; !stop; ++i) {
      auto* const values = memory.At<std::atomic<uint32_t>>(0);
      values[i * 7919 % (2 * kTensor / 4)].store(patterns[i % 6], std::memory_order_relaxed);
    }
  });
  for (int round = 0; round < 300; ++round) {
    v1::ComputeRequest request = RequestIn(problem, token, 0, round % 2 == 0 ? 0 : 2 * kTensor);
    v1::Outputs* const outputs = request.mutable_spec()->mutable_outputs();
    outputs->set_argmax_hits(true);
    outputs->set_label_rank(round % 3 == 0);
    outputs->set_label_log_probabilities(round % 3 == 0);
    outputs->set_entropy(round % 3 == 0);
    if (round % 4 >= 2) {
      v1::Tensor* const targets = request.mutable_class_probabilities();
      *targets = request.predictions();
      targets->mutable_region()->set_offset(kTensor);
      request.mutable_spec()->set_reduction(round % 8 >= 4 ? v1::REDUCTION_WEIGHT_SUM
                                                           : v1::REDUCTION_POSITIONS);
    }
    const grpc::Status status = Compute(request);
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::INVALID_ARGUMENT)
        << status.error_message();
  }
  stop = true;
  changes.join();
}

TEST_F(SharedMemory, ARegionLastsUntilItsCallsAreOver) {
  const Problem problem(2000, 1000);
  const RawMemory memory(1 << 24);
  Fill(problem, memory.data());
  for (int round = 0; round < 5; ++round) {
    auto region = std::make_unique<RawRegion>(Path());
    const v1::ComputeRequest request = RequestIn(problem, region->Share(memory).body, 0, 1 << 23);
    grpc::Status status;
    std::thread call([&] { status = Compute(request); });
    WaitUntil([this] { return server_->live_calls() > 0; });
    region = nullptr;
    call.join();
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::NOT_FOUND);
    if (status.ok()) EXPECT_TRUE(HasGradient(problem, memory.data() + (1 << 23)));
  }
}

TEST_F(SharedMemory, ARegionIsQuietOnceNoCallUsesIt) {
  const Problem problem(2000, 1000);
  const RawMemory memory(1 << 24);
  Fill(problem, memory.data());
  RawRegion region(Path());
  const v1::ComputeRequest request = RequestIn(problem, region.Share(memory).body, 0, 1 << 23);
  for (int round = 0; round < 5; ++round) {
    grpc::ClientContext context;
    v1::ComputeResponse response;
    std::thread call([&] { stub_->Compute(&context, request, &response); });
    WaitUntil([this] { return server_->live_calls() > 0; });
    context.TryCancel();
    call.join();
    ASSERT_TRUE(region.Send("q", {}));
    const auto answer = region.Receive();
    ASSERT_NE(answer, std::nullopt);
    EXPECT_EQ(answer->code, absl::StatusCode::kOk);
    EXPECT_EQ(answer->body, "");
    // From here on nothing is written.
    std::byte* const gradient = memory.data() + (1 << 23);
    std::fill_n(gradient, 1 << 23, std::byte{0});
    WaitUntil([this] { return server_->live_calls() == 0; });
    EXPECT_EQ(std::count(gradient, gradient + (1 << 23), std::byte{0}), 1 << 23);
  }
}

// A child that knows nothing but system calls: shares, tells the token, and waits to be killed.
pid_t StartChild(const std::string& path, const RawMemory& memory, int tell) {
  const pid_t child = fork();
  if (child != 0) return child;
  RawRegion region(path);
  const std::string token = region.Share(memory).body;
  if (write(tell, token.data(), token.size()) != 16) _exit(1);
  while (true) pause();
}

TEST_F(SharedMemory, AKilledClientTakesItsRegionAlong) {
  const Problem problem(2000, 1000);
  const RawMemory memory(1 << 24);
  Fill(problem, memory.data());
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  for (int round = 0; round < 5; ++round) {
    const pid_t child = StartChild(Path(), memory, ends[1]);
    std::string token(16, '\0');
    ASSERT_EQ(read(ends[0], token.data(), token.size()), 16);
    std::thread call([&] { Compute(RequestIn(problem, token, 0, 1 << 23)); });
    if (round % 2 == 0) WaitUntil([this] { return server_->live_calls() > 0; });
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    call.join();
    WaitUntil([this] { return server_->shared_regions() == 0; });
  }
  close(ends[0]);
  close(ends[1]);
}

TEST(WithoutSharedMemory, EveryTokenIsUnknown) {
  const std::unique_ptr<Server> server = StartServer();
  const Problem problem(5, 6);
  v1::ComputeRequest request = problem.Request();
  request.mutable_predictions()->clear_data();
  request.mutable_predictions()->mutable_region()->set_token(std::string(16, 'x'));
  grpc::ClientContext context;
  v1::ComputeResponse response;
  EXPECT_EQ(StubFor(*server)->Compute(&context, request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace lossd::testing
