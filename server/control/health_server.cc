#include "server/control/health_server.h"

#include <grpc/grpc.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "lossd/status_macros.h"
#include "server/calls/event.h"

namespace lossd {
namespace {

// A probe is a connection and a call; a watch keeps both.
constexpr AcceptLoop::Limits kProbes = {
    .connections = 64, .silent = 16, .silent_timeout = absl::Seconds(5)};
constexpr int kStreams = 4;
// Probes come every few seconds; what comes faster than this is not one, and would take time from
// the threads that compute.
constexpr CallLimits kCalls = {.calls = 256,
                               .calls_per_peer = 128,
                               .calls_per_connection = kStreams,
                               .starts_per_second = 1000};
constexpr int kHandshakeMs = 5'000;
constexpr int kMessageBytes = 1 << 10;
constexpr int kMetadataBytes = 4 << 10;
constexpr size_t kQuotaBytes = size_t{16} << 20;

// A probe has little to say.
constexpr LedgerLimits kLedger = {.connection = 128 << 10, .all = int64_t{2} << 20};

}  // namespace

HealthServer::HealthServer()
    : ledger_(kLedger),
      caps_(kCalls, &counters_, &ledger_),
      control_({.caps = &caps_, .counters = &counters_, .ticker = &ticker_, .health = &health_}) {}

absl::StatusOr<std::unique_ptr<HealthServer>> HealthServer::Start(
    std::vector<ListenSocket> sockets) {
  std::unique_ptr<HealthServer> health(new HealthServer);
  grpc::ServerBuilder builder;
  auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.SetResourceQuota(grpc::ResourceQuota("health").Resize(kQuotaBytes));
  builder.SetMaxReceiveMessageSize(kMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  health->control_.AddTo(builder);
  health->queue_ = builder.AddCompletionQueue();
  health->server_ = builder.BuildAndStart();
  if (health->server_ == nullptr) return absl::InternalError("gRPC could not start a server");
  health->ticker_.Start(health->queue_.get());
  health->control_.Serve(health->queue_.get());
  health->poller_ = std::thread([queue = health->queue_.get()] { Event::DispatchAll(*queue); });
  LOSSD_ASSIGN_OR_RETURN(
      health->accept_loop_,
      AcceptLoop::Start(std::move(sockets), std::move(acceptor), kProbes, &health->ledger_));
  health->caps_.TellOffenders(
      [loop = health->accept_loop_.get()](auto peer) { loop->Break(peer); });
  return health;
}

HealthServer::~HealthServer() {
  if (accept_loop_ != nullptr) accept_loop_->Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  if (poller_.joinable()) control_.WaitForNone();
  ticker_.Stop();
  if (queue_ != nullptr) queue_->Shutdown();
  if (poller_.joinable()) poller_.join();
}

}  // namespace lossd
