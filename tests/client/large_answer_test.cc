// Servers that answer more than was asked for, over a real connection: an error, in little memory.
#include <gmock/gmock.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/grpc/grpc_transport.h"
#include "tests/client/any_call.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

// More than any of these answers may take of memory, far less than the large one would.
constexpr int64_t kMuchBytes = 256 * kMiB;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsOurs = false;
#elif defined(__has_feature)
constexpr bool kMemoryIsOurs =
    !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool kMemoryIsOurs = true;
#endif

// The most memory this process has had since the last Forget.
int64_t PeakBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) << 10;
  }
  return 0;
}
void Forget() { std::ofstream("/proc/self/clear_refs") << "5"; }

// A message of zeros, whose every MiB is the same one.
grpc::ByteBuffer Zeros(int64_t bytes) {
  static const grpc::Slice& mib = *new grpc::Slice(std::string(kMiB, '\0'));
  std::vector<grpc::Slice> slices(bytes / kMiB, mib);
  if (bytes % kMiB != 0) slices.push_back(mib.sub(0, bytes % kMiB));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

// Answers every call with so many bytes.
class LargeService : public grpc::CallbackGenericService {
 public:
  void set_bytes(int64_t bytes) { bytes_ = bytes; }

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Reactor(bytes_);
  }

 private:
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(int64_t bytes) : answer_(Zeros(bytes)) { StartRead(&request_); }
    void OnReadDone(bool) override { StartWriteAndFinish(&answer_, {}, grpc::Status::OK); }
    void OnDone() override { delete this; }

   private:
    grpc::ByteBuffer request_;
    grpc::ByteBuffer answer_;
  };

  int64_t bytes_ = 0;
};

class LargeAnswer : public testing::Test, private StreamEvents {
 protected:
  LargeAnswer() {
    grpc::ServerBuilder builder;
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterCallbackGenericService(&service_);
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    server_ = builder.BuildAndStart();
    transport_ = *MakeGrpcTransport(absl::StrCat("127.0.0.1:", port), {.channels = 1});
    queue_ = transport_->NewQueue();
  }
  ~LargeAnswer() override {
    queue_.reset();
    transport_.reset();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  absl::Status Unary(int64_t answer_bytes) {
    status_.reset();
    transport_->Unary(*queue_, AnyCall(*transport_, answer_bytes), Zeros(1),
                      [&](const auto& got) { status_ = got.status(); });
    return Await();
  }
  absl::Status Stream(int64_t answer_bytes) {
    status_.reset();
    const auto stream = transport_->Stream(*queue_, AnyCall(*transport_, answer_bytes), this);
    stream->Write(Zeros(1), true);
    return Await();
  }

  LargeService service_;

 private:
  absl::Status Await() {
    while (!status_.has_value()) queue_->RunOne(absl::InfiniteFuture());
    return *status_;
  }
  void OnWritten() override {}
  void OnMessage(wire::Message) override {}
  void OnDone(absl::Status done) override { status_ = std::move(done); }

  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<Transport> transport_;
  std::unique_ptr<EventQueue> queue_;
  std::optional<absl::Status> status_;
};

TEST_F(LargeAnswer, OneByteTooManyIsNamed) {
  service_.set_bytes(100001);
  for (const absl::Status& error : {Unary(100000), Stream(100000)}) {
    EXPECT_EQ(error.code(), absl::StatusCode::kInternal) << error;
    EXPECT_THAT(std::string(error.message()), HasSubstr("100001 bytes"));
    EXPECT_THAT(std::string(error.message()), HasSubstr("100000"));
  }
  EXPECT_TRUE(Unary(100001).ok());
  EXPECT_TRUE(Stream(100001).ok());
}

TEST_F(LargeAnswer, GibibytesNobodyAskedForAreNotTaken) {
  service_.set_bytes(1536 * kMiB);
  for (const bool stream : {false, true}) {
    Zeros(1);
    Forget();
    const int64_t before = PeakBytes();
    const absl::Status error = stream ? Stream(64 << 10) : Unary(64 << 10);
    EXPECT_FALSE(error.ok());
    EXPECT_THAT(std::string(error.message()), HasSubstr("more came on the connection than"))
        << error;
    if (kMemoryIsOurs) {
      EXPECT_LT(PeakBytes() - before, kMuchBytes) << "stream " << stream;
    }
  }
  service_.set_bytes(10);
  EXPECT_TRUE(Unary(10).ok());
}

// What is expected is taken, however large it is.
TEST_F(LargeAnswer, GibibytesThatWereAskedForArrive) {
  const int64_t bytes = kMemoryIsOurs ? 600 * kMiB : 200 * kMiB;
  service_.set_bytes(bytes);
  EXPECT_TRUE(Unary(bytes).ok());
  EXPECT_TRUE(Stream(bytes).ok());
}

}  // namespace
}  // namespace lossd
