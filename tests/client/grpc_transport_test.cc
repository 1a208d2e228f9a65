// The transport against a gRPC server in this process that answers by a function.
#include "client/grpc/grpc_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "tests/client/any_call.h"
#include "tests/client/echo_server.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;

// A message that counts itself as long as somebody holds it.
grpc::ByteBuffer Counted(std::string text, const std::shared_ptr<int>& count) {
  using Owned = std::pair<std::string, std::shared_ptr<int>>;
  auto* owned = new Owned(std::move(text), count);
  const grpc::Slice slice(
      owned->first.data(), owned->first.size(),
      [](void* last) { delete static_cast<Owned*>(last); }, owned);
  return grpc::ByteBuffer(&slice, 1);
}

std::string Text(const wire::Message& message) {
  std::string text(message.bytes().size(), '\0');
  message.bytes().CopyTo(0, message.bytes().size(), reinterpret_cast<std::byte*>(text.data()));
  return text;
}

// Sends messages one by one and records what comes.
class Recorder : public StreamEvents {
 public:
  explicit Recorder(std::vector<grpc::ByteBuffer> messages) : messages_(std::move(messages)) {}

  void Run(Transport& transport, EventQueue& queue) {
    stream_ = transport.Stream(queue, AnyCall(transport), this);
    OnWritten();
    while (!status.has_value()) queue.RunOne(absl::InfiniteFuture());
    stream_.reset();
  }

  void OnWritten() override {
    if (next_ == messages_.size()) return;
    const size_t sent = next_++;
    stream_->Write(std::exchange(messages_[sent], {}), next_ == messages_.size());
  }
  void OnMessage(wire::Message message) override { texts.push_back(Text(message)); }
  void OnDone(absl::Status done) override { status = std::move(done); }

  std::vector<std::string> texts;
  std::optional<absl::Status> status;

 private:
  std::vector<grpc::ByteBuffer> messages_;
  std::unique_ptr<TransportStream> stream_;
  size_t next_ = 0;
};

class GrpcTransportTest : public testing::Test {
 protected:
  absl::StatusOr<wire::Message> Unary(const grpc::ByteBuffer& request) {
    std::optional<absl::StatusOr<wire::Message>> answer;
    transport_->Unary(*queue_, AnyCall(*transport_), request,
                      [&](auto got) { answer = std::move(got); });
    while (!answer.has_value()) queue_->RunOne(absl::InfiniteFuture());
    return *answer;
  }

  EchoServer server_;
  std::shared_ptr<Transport> transport_ = *MakeGrpcTransport(server_.address(), {});
  std::unique_ptr<EventQueue> queue_ = transport_->NewQueue();
  std::shared_ptr<int> count_ = std::make_shared<int>();
};

TEST_F(GrpcTransportTest, UnaryCarriesALargeMessageBothWaysAndLetsGoOfIt) {
  const std::string large(9 << 20, 'x');  // beyond gRPC's default limit of 4 MiB
  const auto answer = Unary(Counted(large, count_));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Text(*answer), large);
  while (count_.use_count() > 1) queue_->RunOne(transport_->Now() + absl::Milliseconds(1));
}

TEST_F(GrpcTransportTest, StreamCarriesMessagesInOrder) {
  Recorder recorder({Counted("one", count_), Counted("", count_), Counted("three", count_)});
  recorder.Run(*transport_, *queue_);
  EXPECT_THAT(recorder.texts, ElementsAre("one", "", "three"));
  EXPECT_TRUE(recorder.status->ok()) << *recorder.status;
}

TEST_F(GrpcTransportTest, ErrorsKeepCodeAndWords) {
  server_.service().at_once = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too large");
  EXPECT_EQ(Unary(Counted("x", count_)).status(), absl::ResourceExhaustedError("too large"));
  Recorder recorder({Counted("one", count_), Counted("two", count_)});
  recorder.Run(*transport_, *queue_);
  EXPECT_EQ(*recorder.status, absl::ResourceExhaustedError("too large"));
}

TEST_F(GrpcTransportTest, AUnaryCallCanBeCancelled) {
  server_.service().silent = true;
  std::function<void()> cancel;
  CallSetup call = AnyCall(*transport_);
  call.cancel = &cancel;
  std::optional<absl::Status> status;
  transport_->Unary(*queue_, call, Counted("a", count_),
                    [&](const auto& got) { status = got.status(); });
  ASSERT_TRUE(cancel);
  cancel();
  while (!status.has_value()) queue_->RunOne(absl::InfiniteFuture());
  EXPECT_TRUE(absl::IsCancelled(*status)) << *status;
}

TEST_F(GrpcTransportTest, AnErrorAfterAnswersComesLast) {
  server_.service().end = grpc::Status(grpc::StatusCode::ABORTED, "late");
  Recorder recorder({Counted("one", count_)});
  recorder.Run(*transport_, *queue_);
  EXPECT_THAT(recorder.texts, ElementsAre("one"));
  EXPECT_EQ(*recorder.status, absl::AbortedError("late"));
}

// nginx ends a call so whose server it loses in the middle of an answer.
TEST_F(GrpcTransportTest, AnInternalErrorThatNoServerGaveIsOneOfTheWay) {
  server_.service().end = grpc::Status(grpc::StatusCode::INTERNAL, "reset");
  const absl::Status on_the_way = absl::UnavailableError("broken off on the way: reset");
  EXPECT_EQ(Unary(Counted("x", count_)).status(), on_the_way);
  Recorder recorder({Counted("one", count_)});
  recorder.Run(*transport_, *queue_);
  EXPECT_EQ(*recorder.status, on_the_way);
  server_.service().trailers = {{"x-request-id", "7"}};
  EXPECT_EQ(Unary(Counted("x", count_)).status(), absl::InternalError("reset"));
}

TEST_F(GrpcTransportTest, ReasonAndPushbackComeAsPayloads) {
  server_.service().at_once = grpc::Status(grpc::StatusCode::UNAVAILABLE, "busy");
  server_.service().trailers = {{"grpc-retry-pushback-ms", "250"}, {"loss-reason", "QUEUE_FULL"}};
  const absl::Status error = Unary(Counted("x", count_)).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(error.GetPayload(absl::string_view(kPushbackPayload.data(), kPushbackPayload.size())),
            absl::Cord("250"));
  EXPECT_EQ(error.GetPayload(absl::string_view(kReasonPayload.data(), kReasonPayload.size())),
            absl::Cord("QUEUE_FULL"));
}

TEST_F(GrpcTransportTest, ConnectionsAreAsManyAsAsked) {
  const std::shared_ptr<Transport> transport =
      *MakeGrpcTransport(server_.address(), {.channels = 3});
  const auto queue = transport->NewQueue();
  int over = 0;
  for (int i = 0; i < 6; ++i) {
    transport->Unary(*queue, AnyCall(*transport), Counted("x", count_),
                     [&](const auto&) { ++over; });
  }
  while (over < 6) queue->RunOne(absl::InfiniteFuture());
  EXPECT_EQ(server_.service().peers().size(), 3u);
}

// Nobody listens on the proxy's port; to the proxy, "localhost" would be itself.
TEST_F(GrpcTransportTest, TheEnvironmentsProxyIsNotForThisMachine) {
  for (const char* const name : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    setenv(name, "http://127.0.0.1:1", 1);
  }
  std::string by_name = server_.address();
  by_name.replace(0, by_name.find(':'), "localhost");
  for (const std::string& target : {server_.address(), "ipv4:" + server_.address(), by_name}) {
    queue_.reset();
    transport_ = *MakeGrpcTransport(target, {});
    queue_ = transport_->NewQueue();
    const auto answer = Unary(Counted("x", count_));
    EXPECT_TRUE(answer.ok()) << target << ": " << answer.status();
  }
  for (const char* const name : {"grpc_proxy", "https_proxy", "http_proxy"}) unsetenv(name);
}

TEST_F(GrpcTransportTest, WakeEndsAWait) {
  queue_->Wake();
  queue_->RunOne(absl::InfiniteFuture());  // returns
}

TEST_F(GrpcTransportTest, ReclaimLeavesConnectionsWithNothingToSend) {
  ASSERT_TRUE(Unary(Counted("x", count_)).ok());
  for (int i = 0; i < 3; ++i) {
    transport_->Reclaim();
    queue_->RunOne(transport_->Now() + absl::Milliseconds(100));
  }
  ASSERT_TRUE(Unary(Counted("x", count_)).ok());
  EXPECT_EQ(server_.service().peers().size(), 1u);
}

}  // namespace
}  // namespace lossd
