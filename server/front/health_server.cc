#include "server/front/health_server.h"

#include <grpc/grpc.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "lossd/status_macros.h"
#include "server/calls/event.h"
#include "server/front/reflection.h"

namespace lossd {
namespace {

// A probe is a connection and a call; a watch keeps both.
constexpr AcceptLoop::Limits kProbes = {
    .connections = 64, .silent = 16, .silent_timeout = absl::Seconds(5)};
constexpr int kStreams = 4;
constexpr int kHandshakeMs = 5'000;
constexpr int kMessageBytes = 1 << 10;
constexpr int kMetadataBytes = 4 << 10;
constexpr size_t kQuotaBytes = size_t{16} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<HealthServer>> HealthServer::Start(
    std::vector<ListenSocket> sockets) {
  std::unique_ptr<HealthServer> health(new HealthServer);
  grpc::ServerBuilder builder;
  auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  SetReflection(false, builder);
  builder.SetResourceQuota(grpc::ResourceQuota("health").Resize(kQuotaBytes));
  builder.SetMaxReceiveMessageSize(kMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  health->service_.AddTo(builder);
  health->queue_ = builder.AddCompletionQueue();
  health->server_ = builder.BuildAndStart();
  if (health->server_ == nullptr) return absl::InternalError("gRPC could not start a server");
  health->poller_ = std::thread([queue = health->queue_.get()] {
    void* tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok)) Event::Dispatch(tag, ok);
  });
  health->service_.Serve(health->queue_.get());
  LOSSD_ASSIGN_OR_RETURN(health->accept_loop_,
                         AcceptLoop::Start(std::move(sockets), std::move(acceptor), kProbes));
  return health;
}

HealthServer::~HealthServer() {
  if (accept_loop_ != nullptr) accept_loop_->Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  if (queue_ != nullptr) queue_->Shutdown();
  if (poller_.joinable()) poller_.join();
}

}  // namespace lossd
