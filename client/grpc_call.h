#ifndef LOSSD_CLIENT_GRPC_CALL_H_
#define LOSSD_CLIENT_GRPC_CALL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bearer_token.h"
#include "client/grpc_queue.h"
#include "client/transport.h"

namespace lossd {

// One connection; to a name of several servers, one to each.
struct GrpcChannel {
  GrpcChannel(std::shared_ptr<grpc::Channel> channel_in, std::shared_ptr<BearerToken> token_in)
      : channel(std::move(channel_in)), stub(channel), token(std::move(token_in)) {}

  const std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
  const std::shared_ptr<BearerToken> token;  // of its calls; null: none
  std::atomic<int> calls{0};                 // under way
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

  grpc::GenericStub& stub() const { return channel_->stub; }

  // Gives a call that has not begun its token. An error if that may be an old one, and why.
  absl::Status Authorize(grpc::ClientContext& context) const;

 private:
  const std::shared_ptr<GrpcChannel> channel_;
};

// See Transport::Unary.
void StartGrpcUnary(std::shared_ptr<GrpcChannel> channel, GrpcQueue& queue,
                    const std::string& method, const grpc::ByteBuffer& request, absl::Time deadline,
                    std::function<void(absl::StatusOr<wire::Message>)> done);

class GrpcStream : public TransportStream {
 public:
  GrpcStream(std::shared_ptr<GrpcChannel> channel, GrpcQueue& queue, const std::string& method,
             absl::Time deadline, StreamEvents* events);

  void Write(const grpc::ByteBuffer& message, bool last) override;
  void Cancel() override { context_.TryCancel(); }

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

  const GrpcLease lease_;
  StreamEvents* const events_;
  grpc::ClientContext context_;
  const absl::Status authorized_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;  // lives in the context's call
  Operation write_{this, &GrpcStream::Written};
  Operation read_{this, &GrpcStream::Read};
  Operation finish_{this, &GrpcStream::Finished};
  grpc::ByteBuffer received_;
  grpc::Status status_;
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_GRPC_CALL_H_
