// What calls leave behind in a server: nothing, be they answered, refused or broken off.
#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using testing::Problem;

constexpr int kCalls = 2000;
constexpr int kCallsPerSample = 100;
constexpr int kWarmCalls = 600;

// The smallest object that malloc has, left behind by one call in sixteen. Seen without a leak:
// 0.1.
constexpr double kMostBytesPerCall = 2;

// Of the objects that our code deletes, the control forgets one in so many: fewer than one a call.
constexpr int kForgetful = 200;

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";

class SlopeServer {
 public:
  explicit SlopeServer(int forgets)
      : process_(Command(forgets)), line_(process_.ReadLine().value_or("")) {}

  std::string address() const { return line_.substr(line_.rfind(' ') + 1); }

  double HeapBytes() {
    process_.Signal(SIGUSR1);
    double bytes = -1;
    EXPECT_TRUE(absl::SimpleAtod(process_.ReadLine().value_or(""), &bytes));
    return bytes;
  }

 private:
  // What its threads keep of freed memory for themselves would count as handed out.
  static std::vector<std::string> Command(int forgets) {
    return {"/usr/bin/env", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0", LOSSD_SLOPE_SERVER,
            std::to_string(forgets)};
  }

  Process process_;
  const std::string line_;
};

// Calls of every kind in turn.
class Caller {
 public:
  explicit Caller(std::string address) : address_(std::move(address)) {}

  // So many calls over a connection of their own.
  void Call(int count) const {
    const auto channel = testing::Connect(address_);
    for (int i = 0; i < count; ++i) Call(channel, i % kKinds);
  }

 private:
  using Channel = std::shared_ptr<grpc::Channel>;

  static constexpr int kKinds = 7;

  void Call(const Channel& channel, int kind) const {
    switch (kind) {
      case 0:
        return Unary(channel, small_.Request(), grpc::StatusCode::OK);
      case 1:
        return Unary(channel, large_.Request(), grpc::StatusCode::OK);
      case 2:
        return Unary(channel, BadLabel(), grpc::StatusCode::INVALID_ARGUMENT);
      case 3:
        return Garbage(channel);
      case 4:
        return Stream(channel, 3, grpc::StatusCode::OK);
      case 5:
        return Stream(channel, 1, grpc::StatusCode::INVALID_ARGUMENT);
      default:
        return Cancelled(channel);
    }
  }

  v1::ComputeRequest BadLabel() const {
    v1::ComputeRequest request = small_.Request();
    request.mutable_class_indices()->mutable_data()->assign(small_.rows * 8, '\x7f');
    return request;
  }

  static void Unary(const Channel& channel, const v1::ComputeRequest& request,
                    grpc::StatusCode wanted) {
    grpc::ClientContext context;
    v1::ComputeResponse response;
    const auto stub = v1::LossService::NewStub(channel);
    EXPECT_EQ(stub->Compute(&context, request, &response).error_code(), wanted);
  }

  static void Garbage(const Channel& channel) {
    EXPECT_EQ(testing::StatusOf(channel, kCompute, "no protobuf").error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }

  // The first so many of the three blocks of a stream.
  void Stream(const Channel& channel, int blocks, grpc::StatusCode wanted) const {
    const auto stub = v1::LossService::NewStub(channel);
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    stream->Write(large_.Header());
    stream->Write(large_.Weights());
    stream->Write(large_.Labels());
    for (int block = 0; block < blocks; ++block) stream->Write(large_.Block(block * 20, 20));
    stream->WritesDone();
    EXPECT_EQ(testing::ReadAll(large_, *stream).status.error_code(), wanted);
  }

  void Cancelled(const Channel& channel) const {
    const auto stub = v1::LossService::NewStub(channel);
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    testing::BeginStream(large_, *stream);
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }

  const std::string address_;
  const Problem small_{6, 50};
  const Problem large_{60, 300};
};

// The median of what one sample is above the one before: a table of gRPC's that doubles once does
// not show in it, what every call leaves behind does.
double MedianStep(const std::vector<double>& samples) {
  std::vector<double> steps;
  for (size_t i = 1; i < samples.size(); ++i) steps.push_back(samples[i] - samples[i - 1]);
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::nth_element(steps.begin(), middle, steps.end());
  return *middle;
}

// Bytes that a call leaves behind in a server that forgets every so-many-th of its objects.
double BytesPerCall(int forgets) {
  SlopeServer server(forgets);
  const Caller caller(server.address());
  caller.Call(kWarmCalls);
  std::vector<double> samples = {server.HeapBytes()};
  for (int i = 0; i < kCalls; i += kCallsPerSample) {
    caller.Call(kCallsPerSample);
    samples.push_back(server.HeapBytes());
  }
  const double slope = MedianStep(samples) / kCallsPerSample;
  std::printf("  %.0f bytes, after %d calls %.0f: %.2f bytes a call\n", samples.front(), kCalls,
              samples.back(), slope);
  return slope;
}

TEST(LeakSlope, CallsLeaveNothingBehind) { EXPECT_LT(BytesPerCall(0), kMostBytesPerCall); }

TEST(LeakSlope, WhatIsForgottenIsSeen) { EXPECT_GT(BytesPerCall(kForgetful), kMostBytesPerCall); }

}  // namespace
}  // namespace lossd
