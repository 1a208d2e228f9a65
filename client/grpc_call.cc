#include "client/grpc_call.h"

#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protos/wire/grpc_status.h"
#include "protos/wire/message.h"
#include "protos/wire/metadata.h"

namespace lossd {
namespace {

// `authorized`: see GrpcLease::Authorize.
absl::Status StatusOf(const grpc::Status& from, const grpc::ClientContext& context,
                      const absl::Status& authorized) {
  absl::Status status = wire::FromGrpc(from);
  if (status.ok()) return status;
  if (absl::IsUnauthenticated(status) && !authorized.ok()) {
    status = absl::UnauthenticatedError(
        absl::StrCat(status.message(), " (it was read earlier: ", authorized.message(), ")"));
  }
  const auto& trailers = context.GetServerTrailingMetadata();
  // A lossd gives every call an id. Without one the fault is of what stands between: a proxy that
  // lost the server in the middle of an answer resets the call.
  if (absl::IsInternal(status) && trailers.find(wire::kRequestIdKey) == trailers.end()) {
    return absl::UnavailableError(absl::StrCat("broken off on the way: ", status.message()));
  }
  for (const auto& [name, payload] : {std::pair(wire::kPushbackKey, kPushbackPayload),
                                      std::pair(wire::kReasonKey, kReasonPayload)}) {
    const auto trailer = trailers.find(name);
    if (trailer == trailers.end()) continue;
    status.SetPayload(
        absl::string_view(payload.data(), payload.size()),
        absl::Cord(absl::string_view(trailer->second.data(), trailer->second.size())));
  }
  return status;
}

class GrpcUnary : public GrpcEvent {
 public:
  GrpcUnary(std::shared_ptr<GrpcChannel> channel, GrpcQueue& queue, const std::string& method,
            const grpc::ByteBuffer& request, absl::Time deadline,
            std::function<void(absl::StatusOr<wire::Message>)> done)
      : lease_(std::move(channel)),
        done_(std::move(done)),
        authorized_(lease_.Authorize(context_)) {
    context_.set_deadline(absl::ToChronoTime(deadline));
    context_.AddMetadata(wire::kMessageBytesKey, absl::StrCat(request.Length()));
    call_ = lease_.stub().PrepareUnaryCall(&context_, method, request, queue.completions());
    call_->StartCall();
    call_->Finish(&response_, &status_, this);
  }

  void Run(bool) override {
    using Answer = absl::StatusOr<wire::Message>;
    Answer answer = status_.ok() ? Answer(absl::in_place, response_)
                                 : Answer(StatusOf(status_, context_, authorized_));
    const auto done = std::move(done_);
    delete this;  // before `done`: the call refers to the request's bytes
    done(std::move(answer));
  }

 private:
  const GrpcLease lease_;
  std::function<void(absl::StatusOr<wire::Message>)> done_;
  grpc::ClientContext context_;
  const absl::Status authorized_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> call_;  // lives in the context's call
  grpc::ByteBuffer response_;
  grpc::Status status_;
};

}  // namespace

absl::Status GrpcLease::Authorize(grpc::ClientContext& context) const {
  if (channel_->token == nullptr) return absl::OkStatus();
  const BearerToken::Reading reading = channel_->token->Read();
  context.AddMetadata("authorization", absl::StrCat("Bearer ", reading.token));
  return reading.status;
}

void StartGrpcUnary(std::shared_ptr<GrpcChannel> channel, GrpcQueue& queue,
                    const std::string& method, const grpc::ByteBuffer& request, absl::Time deadline,
                    std::function<void(absl::StatusOr<wire::Message>)> done) {
  new GrpcUnary(std::move(channel), queue, method, request, deadline,
                std::move(done));  // deletes itself
}

GrpcStream::GrpcStream(std::shared_ptr<GrpcChannel> channel, GrpcQueue& queue,
                       const std::string& method, absl::Time deadline, StreamEvents* events)
    : lease_(std::move(channel)), events_(events), authorized_(lease_.Authorize(context_)) {
  context_.set_deadline(absl::ToChronoTime(deadline));
  context_.set_initial_metadata_corked(true);  // the first message goes with the metadata
  call_ = lease_.stub().PrepareCall(&context_, method, queue.completions());
  call_->StartCall(nullptr);  // corked: no operation of its own, so no tag comes back
  call_->Read(&received_, &read_);
}

void GrpcStream::Write(const grpc::ByteBuffer& message, bool last) {
  writing_ = true;
  grpc::WriteOptions options;
  if (last) options.set_last_message();
  call_->Write(message, options, &write_);
}

void GrpcStream::Written(bool ok) {
  writing_ = false;
  if (finished_) return DeliverDone();
  if (ok) events_->OnWritten();
}

void GrpcStream::Read(bool ok) {
  if (!ok) return call_->Finish(&status_, &finish_);
  wire::Message message(received_);
  received_.Clear();
  events_->OnMessage(std::move(message));
  call_->Read(&received_, &read_);
}

void GrpcStream::Finished(bool) {
  finished_ = true;
  if (!writing_) DeliverDone();
}

// The handler may destroy the stream.
void GrpcStream::DeliverDone() { events_->OnDone(StatusOf(status_, context_, authorized_)); }

}  // namespace lossd
