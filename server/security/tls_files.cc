#include "server/security/tls_files.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

constexpr char kCertificateFlag[] = "--tls-cert";
constexpr char kKeyFlag[] = "--tls-key";
constexpr char kClientCaFlag[] = "--tls-client-ca";

}  // namespace

std::vector<std::string> TlsFiles::Paths() const {
  std::vector<std::string> paths = {certificate, key};
  if (!client_ca.empty()) paths.push_back(client_ca);
  return paths;
}

absl::StatusOr<TlsMaterial> LoadTlsFiles(const TlsFiles& files) {
  if (files.certificate.empty() && files.key.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(kClientCaFlag, " is given without ", kCertificateFlag, "; wanted both"));
  }
  TlsMaterial material;
  LOSSD_ASSIGN_OR_RETURN(material.identity, ReadIdentity({kCertificateFlag, files.certificate},
                                                         {kKeyFlag, files.key}));
  if (!files.client_ca.empty()) {
    LOSSD_ASSIGN_OR_RETURN(material.client_ca, ReadCertificates({kClientCaFlag, files.client_ca}));
  }
  return material;
}

}  // namespace lossd
