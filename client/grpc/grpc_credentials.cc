#include "client/grpc/grpc_credentials.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/files/pem_files.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// gRPC sends the name, too, and ends the process where it cannot.
absl::Status CheckServerName(const std::string& name) {
  if (std::all_of(name.begin(), name.end(), absl::ascii_isgraph)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tls.server_name is '", name, "'; wanted a host name or an address"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const std::optional<TlsOptions>& tls) {
  if (!tls.has_value()) return grpc::InsecureChannelCredentials();
  LOSSD_RETURN_IF_ERROR(CheckServerName(tls->server_name));
  grpc::SslCredentialsOptions ssl;
  if (!tls->ca_file.empty()) {
    LOSSD_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadCertificates({"tls.ca_file", tls->ca_file}));
  }
  if (!tls->certificate_file.empty() || !tls->key_file.empty()) {
    LOSSD_ASSIGN_OR_RETURN(PemIdentity identity,
                           ReadIdentity({"tls.certificate_file", tls->certificate_file},
                                        {"tls.key_file", tls->key_file}));
    ssl.pem_cert_chain = std::move(identity.certificate);
    ssl.pem_private_key = std::move(identity.key);
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace lossd
