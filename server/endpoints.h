#ifndef LOSSD_SERVER_ENDPOINTS_H_
#define LOSSD_SERVER_ENDPOINTS_H_

#include <grpcpp/server_builder.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/admission/trusted_proxies.h"
#include "server/config/options.h"
#include "server/config/settings.h"
#include "server/control/health_server.h"
#include "server/control/health_state.h"
#include "server/listen/accept_loop.h"
#include "server/listen/listen_socket.h"
#include "server/security/authenticator.h"
#include "server/security/file_watcher.h"
#include "server/security/tls_credentials.h"

namespace lossd {

// The endpoints of a server: where it listens, which clients may connect, and how many. Called in
// this order: Open, AddTo, Start, Close.
class Endpoints {
 public:
  // Listens on all addresses and reads all files; takes no connections yet. kInvalidArgument for
  // options and files that cannot be used, kFailedPrecondition for an address that cannot be had.
  static absl::StatusOr<std::unique_ptr<Endpoints>> Open(const ServerOptions& options);

  // Reads certificates and tokens again, at once. After Start.
  void Reload() { watcher_.ChangeAll(); }

  // How the server to be built treats its connections.
  void AddTo(grpc::ServerBuilder& builder);

  // Lets connections in and reports SERVING, to `health` too, which outlives this, as does the
  // `ledger` of the connections.
  absl::Status Start(HealthState& health, Ledger& ledger);

  // Reports NOT_SERVING and takes no more connections; those that exist go on. The health port goes
  // on reporting until this is destroyed.
  void Close();

  // As given, but with the bound ports.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::string& health_address() const { return health_address_; }  // empty: none

  // The settings in force.
  Settings settings() const;

  const Authenticator& authenticator() const { return *authenticator_; }
  int64_t connections() { return accept_loop_->connections(); }
  int64_t max_connections() const { return max_connections_; }
  std::array<int64_t, kConnectionRefusals> refused_connections() const {
    return accept_loop_->refused();
  }

  // The proxies that may name the addresses of clients.
  const TrustedProxies& trusted_proxies() const { return trusted_proxies_; }

  // Ends the connection that gRPC gives this name. From Start to Close, on any thread.
  void Break(std::string_view peer) { accept_loop_->Break(peer); }

 private:
  explicit Endpoints(const ServerOptions& options) : options_(options) {}
  absl::Status OpenAddresses();
  absl::Status ReadFiles();
  void ReloadTokens();
  int64_t MaxSilent() const;

  const ServerOptions options_;
  int64_t max_connections_ = 0;
  TrustedProxies trusted_proxies_;
  std::vector<std::string> addresses_;
  std::vector<ListenSocket> sockets_;
  std::string health_address_;
  std::vector<ListenSocket> health_sockets_;
  std::shared_ptr<TlsCredentials> tls_;  // null: plaintext
  std::unique_ptr<Authenticator> authenticator_ = std::make_unique<Authenticator>();
  std::unique_ptr<AcceptLoop::Acceptor> acceptor_;
  HealthState* main_health_ = nullptr;
  std::unique_ptr<HealthServer> health_;
  std::unique_ptr<AcceptLoop> accept_loop_;
  FileWatcher watcher_;  // the last: it uses the others
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENDPOINTS_H_
