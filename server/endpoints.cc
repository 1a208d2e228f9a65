#include "server/endpoints.h"

#include <grpc/grpc.h>
#include <grpcpp/security/server_credentials.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/flags/values.h"
#include "lossd/status_macros.h"
#include "server/listen/listen_address.h"
#include "server/log/log.h"

namespace lossd {
namespace {

constexpr int kMetadataBytes = 8 << 10;

// Pings of clients that come closer together are a fault of theirs; lossd's own ping every 30 s.
constexpr int kPingIntervalMs = 10'000;

// Connections that say nothing yet: this part of all, at least this many.
constexpr int64_t kSilentShare = 4;
constexpr int64_t kFewestSilent = 8;

// For gRPC, to which the largest number is none.
int Milliseconds(absl::Duration duration) {
  constexpr auto kMost = static_cast<int64_t>(std::numeric_limits<int>::max());
  return static_cast<int>(std::clamp(absl::ToInt64Milliseconds(duration), int64_t{1}, kMost));
}

absl::Status CheckConnections(const ConnectionOptions& connections) {
  const int64_t most = MostConnections();
  if (connections.max_connections < 0 || connections.max_connections > most) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_connections is %d; wanted 1..%d, below half of the descriptors this "
                        "process may open (ulimit -n), or 0",
                        connections.max_connections, most));
  }
  if (connections.max_streams < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_streams is %d; wanted 1 or more", connections.max_streams));
  }
  return absl::OkStatus();
}

// Tensors and tokens that cross a network in the clear are to be asked for by name.
absl::Status CheckPrivate(const ServerOptions& options, const ListenAddress& address) {
  if (options.tls.given() || options.insecure_listen) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const bool local, address.IsLocal());
  if (local) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--listen ", address.text(), " can be reached from other machines, without encryption",
      options.auth_token_file.empty() ? "" : ", which tokens need too",
      "; wanted --tls-cert and --tls-key, a loopback address, or --insecure-listen"));
}

void Tell(Log* log, const absl::Status& reloaded) {
  if (log == nullptr) return;
  const absl::string_view text = reloaded.message();
  log->Write(reloaded.ok() ? LogLevel::kInfo : LogLevel::kWarning, LogEvent::kReload,
             {{"code", absl::StatusCodeToString(reloaded.code())},
              {"message", std::string_view(text.data(), text.size())}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Endpoints>> Endpoints::Open(const ServerOptions& options) {
  std::unique_ptr<Endpoints> endpoints(new Endpoints(options));
  LOSSD_RETURN_IF_ERROR(CheckConnections(options.connections));
  endpoints->max_connections_ = options.connections.max_connections;
  if (endpoints->max_connections_ == 0) endpoints->max_connections_ = DefaultMaxConnections();
  LOSSD_ASSIGN_OR_RETURN(endpoints->trusted_proxies_,
                         TrustedProxies::Parse(options.trusted_proxies));
  LOSSD_RETURN_IF_ERROR(endpoints->ReadFiles());
  LOSSD_RETURN_IF_ERROR(endpoints->OpenAddresses());
  return endpoints;
}

absl::Status Endpoints::ReadFiles() {
  if (options_.tls.given()) {
    LOSSD_ASSIGN_OR_RETURN(tls_, TlsCredentials::Load(options_.tls));
    // If a file cannot be used, what was read before stays in use, here and below.
    watcher_.Watch(options_.tls.Paths(), [this] { Tell(options_.log, tls_->Reload()); });
  }
  if (!options_.auth_token_file.empty()) {
    LOSSD_ASSIGN_OR_RETURN(authenticator_, Authenticator::FromFile(options_.auth_token_file));
    watcher_.Watch({options_.auth_token_file}, [this] { ReloadTokens(); });
  }
  return absl::OkStatus();
}

void Endpoints::ReloadTokens() {
  absl::Status reloaded = authenticator_->Reload();
  if (reloaded.ok() && authenticator_->AdmitsNobody()) {
    reloaded = CannotUse({"--auth-token-file", options_.auth_token_file},
                         "has no token any more; nobody may call");
  }
  Tell(options_.log, reloaded);
}

absl::Status Endpoints::OpenAddresses() {
  std::vector<ListenAddress> wanted;
  for (const std::string& text : options_.listen) {
    LOSSD_ASSIGN_OR_RETURN(wanted.emplace_back(), ListenAddress::Parse(text));
    LOSSD_RETURN_IF_ERROR(CheckPrivate(options_, wanted.back()));
  }
  for (const ListenAddress& address : wanted) {
    LOSSD_ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets, address.Listen());
    addresses_.push_back(address.WithPort(sockets.front().Port()));
    std::move(sockets.begin(), sockets.end(), std::back_inserter(sockets_));
  }
  if (options_.health_listen.empty()) return absl::OkStatus();
  LOSSD_ASSIGN_OR_RETURN(const ListenAddress health, ListenAddress::Parse(options_.health_listen));
  LOSSD_ASSIGN_OR_RETURN(health_sockets_, health.Listen());
  health_address_ = health.WithPort(health_sockets_.front().Port());
  return absl::OkStatus();
}

void Endpoints::AddTo(grpc::ServerBuilder& builder) {
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      tls_ != nullptr ? tls_ : grpc::InsecureServerCredentials());
  const ConnectionOptions& connections = options_.connections;
  for (const auto& [argument, value] :
       {std::pair(GRPC_ARG_MAX_CONCURRENT_STREAMS, connections.max_streams),
        // Windows do not grow with what the network could carry: a call that is not read yet
        // holds its window in memory that no budget knows of. (docs/adr/026)
        {GRPC_ARG_HTTP2_BDP_PROBE, 0},
        {GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes},
        {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(connections.handshake_timeout)},
        {GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(connections.keepalive_time)},
        {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(connections.keepalive_timeout)},
        {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
        {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMs},
        {GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(connections.max_idle)},
        {GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(connections.max_age)},
        {GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(connections.max_age_grace)}}) {
    builder.AddChannelArgument(argument, value);
  }
}

absl::Status Endpoints::Start(HealthState& health, Ledger& ledger) {
  main_health_ = &health;
  if (!health_sockets_.empty()) {
    LOSSD_ASSIGN_OR_RETURN(health_, HealthServer::Start(std::move(health_sockets_)));
  }
  const AcceptLoop::Limits limits = {.connections = max_connections_,
                                     .silent = MaxSilent(),
                                     .silent_timeout = options_.connections.handshake_timeout,
                                     .without_calls = MaxSilent(),
                                     .log = options_.log,
                                     .proxies = trusted_proxies_};
  LOSSD_ASSIGN_OR_RETURN(
      accept_loop_, AcceptLoop::Start(std::move(sockets_), std::move(acceptor_), limits, &ledger));
  watcher_.Start();
  main_health_->SetServing(true);
  if (health_ != nullptr) health_->SetServing(true);
  return absl::OkStatus();
}

Settings Endpoints::settings() const {
  const auto or_none = [](const std::string& value) { return value.empty() ? "none" : value; };
  const auto or_off = [](absl::Duration value) {
    return value == absl::InfiniteDuration() ? "off" : absl::FormatDuration(value);
  };
  const ConnectionOptions& connections = options_.connections;
  return {{"listen", absl::StrJoin(addresses_, ",")},
          {"health-listen", or_none(health_address_)},
          {"encryption", tls_ != nullptr ? "tls" : "none"},
          {"tls-cert", or_none(options_.tls.certificate)},
          {"tls-client-ca", or_none(options_.tls.client_ca)},
          {"auth-token-file", or_none(options_.auth_token_file)},
          {"max-connections", std::to_string(max_connections_)},
          {"max-silent-connections", std::to_string(MaxSilent())},
          {"trusted-proxies", or_none(options_.trusted_proxies)},
          {"max-streams", std::to_string(connections.max_streams)},
          {"max-metadata-bytes", SizeText(kMetadataBytes)},
          {"handshake-timeout", or_off(connections.handshake_timeout)},
          {"keepalive-time", or_off(connections.keepalive_time)},
          {"keepalive-timeout", or_off(connections.keepalive_timeout)},
          {"connection-idle", or_off(connections.max_idle)},
          {"connection-age", or_off(connections.max_age)},
          {"connection-age-grace", or_off(connections.max_age_grace)},
          {"compression", "off"},
          {"reflection", options_.reflection ? "on" : "off"}};
}

int64_t Endpoints::MaxSilent() const {
  return std::max(kFewestSilent, max_connections_ / kSilentShare);
}

void Endpoints::Close() {
  if (main_health_ != nullptr) main_health_->SetServing(false);
  if (health_ != nullptr) health_->SetServing(false);
  if (accept_loop_ != nullptr) accept_loop_->Stop();
}

}  // namespace lossd
