#include "client/grpc/grpc_transport.h"

#include <grpc/grpc.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/grpc/bearer_token.h"
#include "client/grpc/grpc_call.h"
#include "client/grpc/grpc_channels.h"
#include "client/grpc/grpc_credentials.h"
#include "client/grpc/grpc_queue.h"
#include "client/grpc/grpc_sockets.h"
#include "client/grpc/target.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

int Milliseconds(absl::Duration duration) {
  constexpr absl::Duration kMost = absl::Hours(24);
  return static_cast<int>(absl::ToInt64Milliseconds(std::min(duration, kMost)));
}

// Calls go to the servers behind a name in turn, to those that say of themselves that they serve.
constexpr char kSpread[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "lossd.v1.LossService"}
})";

grpc::ChannelArguments Arguments(const ClientOptions& options, bool replicas) {
  grpc::ChannelArguments arguments;
  // Channels with equal arguments would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);  // each call has its own: CallSetup::answer_bytes
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  // What may arrive of a stream before it is asked for. gRPC's own estimate grows to a hundred
  // megabytes on a fast line.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
  // An answer that was compressed all the same is refused, not inflated to an unknown size.
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // gRPC's own replay ends at 256 KiB; ours has no such end, and the two would multiply.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // gRPC would wait a second and more before it dials again, and fail all calls meanwhile.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   Milliseconds(options.retry.initial_backoff));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Milliseconds(options.retry.max_backoff));
  if (replicas) {
    arguments.SetServiceConfigJSON(kSpread);
    // How long a connection may take to be there before another server is tried, and how often a
    // name is looked up again after one was lost.
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
    arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 5'000);
  }
  if (options.tls.has_value() && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  return arguments;
}

class GrpcTransport : public Transport {
 public:
  // `sockets` are those of the arguments of `dialling`.
  GrpcTransport(Dialling dialling, int channels, std::shared_ptr<GrpcSockets> sockets)
      : channels_(std::move(dialling), channels), sockets_(std::move(sockets)) {}

  std::unique_ptr<EventQueue> NewQueue() override { return std::make_unique<GrpcQueue>(); }
  absl::Time Now() const override { return absl::Now(); }

  void Unary(EventQueue& queue, const CallSetup& call, const grpc::ByteBuffer& request,
             std::function<void(absl::StatusOr<wire::Message>)> done) override {
    StartGrpcUnary(Choose(queue), call, request, std::move(done));
  }

  std::unique_ptr<TransportStream> Stream(EventQueue& queue, const CallSetup& call,
                                          StreamEvents* events) override {
    return std::make_unique<GrpcStream>(Choose(queue), call, events);
  }

  void Reclaim() override { sockets_->BreakStuck(Now()); }

 private:
  GrpcRoute Choose(EventQueue& queue) {
    std::shared_ptr<GrpcChannel> channel = channels_.Choose();
    // The channels outlive the queue, and the queue what looks.
    Patience::Look look = [this, one = channel.get()] { return channels_.ProspectOf(*one); };
    return {std::move(channel), static_cast<GrpcQueue&>(queue), std::move(look)};
  }

  GrpcChannels channels_;
  const std::shared_ptr<GrpcSockets> sockets_;
};

// gRPC shuts down when its last object goes, and then waits up to 10 s for a poller of its own that
// a large write has started (seen with 1.51). So it is kept up as long as the process.
void KeepGrpcUp() {
  static const bool up = (grpc_init(), true);
  static_cast<void>(up);
}

// Refuses to send a token over an unencrypted network.
absl::Status KeepOffTheNetwork(const std::vector<std::string>& targets) {
  for (const std::string& target : targets) {
    if (IsLocalTarget(target)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the token would cross the network in the clear on its way to ", target,
                     "; wanted TLS, a Unix socket or a loopback address"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<Transport>> MakeGrpcTransport(const std::string& target,
                                                             const ClientOptions& options) {
  KeepGrpcUp();
  LOSSD_ASSIGN_OR_RETURN(Endpoints endpoints, ReadTarget(target));
  LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials,
                         MakeCredentials(options.tls));
  LOSSD_ASSIGN_OR_RETURN(std::shared_ptr<BearerToken> token, BearerToken::Of(options));
  grpc::ChannelArguments arguments = Arguments(options, endpoints.replicas);
  if (token != nullptr && !options.tls.has_value()) {
    LOSSD_RETURN_IF_ERROR(KeepOffTheNetwork(endpoints.targets));
  }
  const auto sockets = std::make_shared<GrpcSockets>();
  sockets->Watch(arguments);
  return std::make_shared<GrpcTransport>(
      Dialling{std::move(endpoints), arguments, std::move(credentials), std::move(token)},
      options.channels, sockets);
}

}  // namespace lossd
