#include "client/grpc/grpc_call.h"

#include <grpcpp/create_channel.h>

#include <utility>

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
  // gRPC ends calls of a channel so whose quota is overdrawn: see AnswerQuota.
  if (absl::IsResourceExhausted(status) && status.message() == "Buffers full") {
    return absl::ResourceExhaustedError("more came on the connection than its answers can be");
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
  GrpcUnary(GrpcRoute route, const CallSetup& call, const grpc::ByteBuffer& request,
            std::function<void(absl::StatusOr<wire::Message>)> done)
      : call_(route, call, 1), done_(std::move(done)) {
    call_.context().AddMetadata(wire::kMessageBytesKey, absl::StrCat(request.Length()));
    reader_ = call_.stub().PrepareUnaryCall(&call_.context(), call.method, request,
                                            route.queue.completions());
    reader_->StartCall();
    reader_->Finish(&response_, &status_, this);
    if (call.cancel != nullptr) *call.cancel = [this] { call_.context().TryCancel(); };
  }

  void Run(bool) override {
    const std::shared_ptr<ExpectedAnswer> expected = call_.expected();  // outlives the answer
    absl::Status status = call_.End(status_);
    if (status.ok()) status = call_.CheckSize(response_);
    using Answer = absl::StatusOr<wire::Message>;
    Answer answer = status.ok() ? Answer(absl::in_place, response_) : Answer(std::move(status));
    const auto done = std::move(done_);
    delete this;  // before `done`: the call refers to the request's bytes
    done(std::move(answer));
  }

 private:
  GrpcCall call_;
  std::function<void(absl::StatusOr<wire::Message>)> done_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;  // lives in the context's call
  grpc::ByteBuffer response_;
  grpc::Status status_;
};

// Messages of a stream that may be held at once: one that comes, two that came, one kept back.
constexpr int kHeldMessages = 4;

}  // namespace

GrpcChannel::GrpcChannel(const std::string& target,
                         const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                         grpc::ChannelArguments arguments, std::shared_ptr<BearerToken> token_in)
    : channel((quota.AddTo(arguments), grpc::CreateCustomChannel(target, credentials, arguments))),
      stub(channel),
      token(std::move(token_in)) {}

absl::Status GrpcLease::Authorize(grpc::ClientContext& context) const {
  if (channel_->token == nullptr) return absl::OkStatus();
  const BearerToken::Reading reading = channel_->token->Read();
  context.AddMetadata("authorization", absl::StrCat("Bearer ", reading.token));
  return reading.status;
}

GrpcCall::GrpcCall(GrpcRoute route, const CallSetup& call, int held_messages)
    : lease_(route.channel),
      answer_bytes_(call.answer_bytes),
      expected_(
          std::make_shared<ExpectedAnswer>(route.channel->quota, held_messages * answer_bytes_)),
      authorized_(lease_.Authorize(context_)),
      patience_(Patience::Of(context_, route.queue, std::move(route.look))) {
  context_.set_deadline(absl::ToChronoTime(call.deadline));
}

absl::Status GrpcCall::CheckSize(const grpc::ByteBuffer& message) const {
  const auto bytes = static_cast<int64_t>(message.Length());
  if (bytes <= answer_bytes_) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server answered with a message of ", bytes,
                                          " bytes; the largest that can answer this call has ",
                                          answer_bytes_));
}

absl::Status GrpcCall::End(const grpc::Status& status) {
  if (patience_ == nullptr) return StatusOf(status, context_, authorized_);
  patience_->Stop();
  if (!patience_->ran_out() || status.error_code() != grpc::StatusCode::CANCELLED) {
    return StatusOf(status, context_, authorized_);
  }
  absl::Status unsent = absl::UnavailableError("one server was not reached, another is there");
  unsent.SetPayload(absl::string_view(kUnsentPayload.data(), kUnsentPayload.size()), absl::Cord());
  return unsent;
}

void StartGrpcUnary(GrpcRoute route, const CallSetup& call, const grpc::ByteBuffer& request,
                    std::function<void(absl::StatusOr<wire::Message>)> done) {
  new GrpcUnary(std::move(route), call, request, std::move(done));  // deletes itself
}

GrpcStream::GrpcStream(GrpcRoute route, const CallSetup& call, StreamEvents* events)
    : call_(route, call, kHeldMessages), events_(events) {
  grpc::ClientContext& context = call_.context();
  context.set_initial_metadata_corked(true);  // the first message goes with the metadata
  stream_ = call_.stub().PrepareCall(&context, call.method, route.queue.completions());
  stream_->StartCall(nullptr);  // corked: no operation of its own, so no tag comes back
  stream_->Read(&received_, &read_);
}

void GrpcStream::Write(const grpc::ByteBuffer& message, bool last) {
  writing_ = true;
  grpc::WriteOptions options;
  if (last) options.set_last_message();
  stream_->Write(message, options, &write_);
}

void GrpcStream::Written(bool ok) {
  writing_ = false;
  if (finished_) return DeliverDone();
  if (ok) events_->OnWritten();
}

void GrpcStream::Read(bool ok) {
  if (!ok) return stream_->Finish(&status_, &finish_);
  if (too_large_.ok()) too_large_ = call_.CheckSize(received_);
  wire::Message message(received_);
  received_.Clear();
  if (too_large_.ok()) {
    events_->OnMessage(std::move(message));
  } else {
    Cancel();
  }
  stream_->Read(&received_, &read_);
}

void GrpcStream::Finished(bool) {
  finished_ = true;
  if (!writing_) DeliverDone();
}

// The handler may destroy the stream.
void GrpcStream::DeliverDone() {
  absl::Status status = call_.End(status_);
  events_->OnDone(too_large_.ok() ? std::move(status) : std::move(too_large_));
}

}  // namespace lossd
