#include "server/security/tls_credentials.h"

#include <grpc/grpc.h>

#include <utility>

#include "lossd/status_macros.h"

namespace lossd {

absl::StatusOr<std::shared_ptr<TlsCredentials>> TlsCredentials::Load(const TlsFiles& files) {
  LOSSD_ASSIGN_OR_RETURN(TlsMaterial material, LoadTlsFiles(files));
  return std::shared_ptr<TlsCredentials>(new TlsCredentials(files, std::move(material)));
}

TlsCredentials::TlsCredentials(const TlsFiles& files, TlsMaterial material)
    : files_(files),
      material_(std::move(material)),
      credentials_(grpc_ssl_server_credentials_create_with_options(
          grpc_ssl_server_credentials_create_options_using_config_fetcher(
              files.client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                      : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
              &TlsCredentials::Fetch, this))) {}

TlsCredentials::~TlsCredentials() { grpc_server_credentials_release(credentials_); }

absl::Status TlsCredentials::Reload() {
  LOSSD_ASSIGN_OR_RETURN(TlsMaterial material, LoadTlsFiles(files_));
  const std::lock_guard lock(mutex_);
  if (material == material_) return absl::OkStatus();
  material_ = std::move(material);
  fresh_ = true;
  return absl::OkStatus();
}

int TlsCredentials::AddPortToServer(const std::string& address, grpc_server* server) {
  return grpc_server_add_http2_port(server, address.c_str(), credentials_);
}

grpc_ssl_certificate_config_reload_status TlsCredentials::Fetch(
    void* self, grpc_ssl_server_certificate_config** config) {
  auto* const that = static_cast<TlsCredentials*>(self);
  const std::lock_guard lock(that->mutex_);
  if (!std::exchange(that->fresh_, false)) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const TlsMaterial& material = that->material_;
  const grpc_ssl_pem_key_cert_pair pair = {material.identity.key.c_str(),
                                           material.identity.certificate.c_str()};
  // gRPC aborts where there are no roots; where clients bring no certificates, any will do.
  const std::string& roots =
      material.client_ca.empty() ? material.identity.certificate : material.client_ca;
  *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

}  // namespace lossd
