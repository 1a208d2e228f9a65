#ifndef LOSSD_SERVER_SECURITY_TLS_CREDENTIALS_H_
#define LOSSD_SERVER_SECURITY_TLS_CREDENTIALS_H_

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/security/tls_files.h"

namespace lossd {

// Credentials of one server whose files may change while it runs: what is read at a Reload holds
// for connections made from then on, and those that exist go on. TLS 1.2 and 1.3; with a client CA
// every client must bring a certificate it signed. For one acceptor, whose connections are handed
// over by one thread. (docs/adr/007)
class TlsCredentials final : public grpc::ServerCredentials {
 public:
  static absl::StatusOr<std::shared_ptr<TlsCredentials>> Load(const TlsFiles& files);
  ~TlsCredentials() override;

  // Reads the files again; thread-safe. If they cannot be used, nothing changes.
  absl::Status Reload();

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& processor) override {}

 private:
  TlsCredentials(const TlsFiles& files, TlsMaterial material);

  int AddPortToServer(const std::string& address, grpc_server* server) override;

  // For gRPC, at the beginning of each handshake; the first time it gets the material in any case.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config);

  const TlsFiles files_;
  std::mutex mutex_;
  TlsMaterial material_;
  bool fresh_ = true;  // gRPC has not fetched material_
  grpc_server_credentials* credentials_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SECURITY_TLS_CREDENTIALS_H_
