#ifndef LOSSD_CLIENT_GRPC_GRPC_CALL_H_
#define LOSSD_CLIENT_GRPC_GRPC_CALL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/channel_arguments.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/grpc/answer_quota.h"
#include "client/grpc/bearer_token.h"
#include "client/grpc/grpc_queue.h"
#include "client/grpc/patience.h"
#include "client/transport/transport.h"

namespace lossd {

// One connection; to a name of several servers, one to each.
struct GrpcChannel {
  GrpcChannel(const std::string& target,
              const std::shared_ptr<grpc::ChannelCredentials>& credentials,
              grpc::ChannelArguments arguments, std::shared_ptr<BearerToken> token_in);

  AnswerQuota quota;
  const std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
  const std::shared_ptr<BearerToken> token;  // of its calls; null: none
  std::atomic<int> calls{0};                 // under way
};

// The channel of a call, and the queue that runs its events.
struct GrpcRoute {
  std::shared_ptr<GrpcChannel> channel;
  GrpcQueue& queue;
  Patience::Look look;
};

// A call that counts as under way on a channel.
class GrpcLease {
 public:
  explicit GrpcLease(std::shared_ptr<GrpcChannel> channel) : channel_(std::move(channel)) {
    ++channel_->calls;
  }
  ~GrpcLease() { --channel_->calls; }
  GrpcLease(const GrpcLease&) = delete;
  GrpcLease& operator=(const GrpcLease&) = delete;

  GrpcChannel& channel() const { return *channel_; }

  // Gives a call that has not begun its token. An error if that may be an old one, and why.
  absl::Status Authorize(grpc::ClientContext& context) const;

 private:
  const std::shared_ptr<GrpcChannel> channel_;
};

// What unary calls and streams have in common: a context on a channel, and how the call ended.
class GrpcCall {
 public:
  // `held_messages`: how many that came may be held at once.
  GrpcCall(GrpcRoute route, const CallSetup& call, int held_messages);

  grpc::ClientContext& context() { return context_; }
  grpc::GenericStub& stub() const { return lease_.channel().stub; }

  // Checks a message that came; kInternal where no answer is so large.
  absl::Status CheckSize(const grpc::ByteBuffer& message) const;

  // Once, when gRPC is done with the call: its status as the client library has it.
  absl::Status End(const grpc::Status& status);

  // What came is counted as expected for as long as this is held.
  std::shared_ptr<ExpectedAnswer> expected() const { return expected_; }

 private:
  const GrpcLease lease_;
  const int64_t answer_bytes_;
  const std::shared_ptr<ExpectedAnswer> expected_;
  grpc::ClientContext context_;
  const absl::Status authorized_;
  const std::shared_ptr<Patience> patience_;  // nullptr: the server was there
};

// See Transport::Unary.
void StartGrpcUnary(GrpcRoute route, const CallSetup& call, const grpc::ByteBuffer& request,
                    std::function<void(absl::StatusOr<wire::Message>)> done);

class GrpcStream : public TransportStream {
 public:
  GrpcStream(GrpcRoute route, const CallSetup& call, StreamEvents* events);

  void Write(const grpc::ByteBuffer& message, bool last) override;
  void Cancel() override { call_.context().TryCancel(); }

 private:
  // One kind of operation of the stream; at most one of each kind is under way.
  class Operation : public GrpcEvent {
   public:
    Operation(GrpcStream* stream, void (GrpcStream::*ended)(bool))
        : stream_(stream), ended_(ended) {}
    void Run(bool ok) override { (stream_->*ended_)(ok); }

   private:
    GrpcStream* stream_;
    void (GrpcStream::*ended_)(bool);
  };

  void Written(bool ok);
  void Read(bool ok);
  void Finished(bool ok);
  void DeliverDone();

  GrpcCall call_;
  StreamEvents* const events_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;  // lives in the context's call
  Operation write_{this, &GrpcStream::Written};
  Operation read_{this, &GrpcStream::Read};
  Operation finish_{this, &GrpcStream::Finished};
  grpc::ByteBuffer received_;
  grpc::Status status_;
  absl::Status too_large_;  // of a message that came
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_GRPC_CALL_H_
