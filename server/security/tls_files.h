#ifndef LOSSD_SERVER_SECURITY_TLS_FILES_H_
#define LOSSD_SERVER_SECURITY_TLS_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/files/pem_files.h"

namespace lossd {

// Paths of PEM files.
struct TlsFiles {
  std::string certificate;  // the server's own first, then those that lead to its CA
  std::string key;          // of the server's certificate, not encrypted
  std::string client_ca;    // signs certificates of clients; empty: clients need none

  bool given() const { return !certificate.empty() || !key.empty() || !client_ca.empty(); }
  std::vector<std::string> Paths() const;
};

// What was in them.
struct TlsMaterial {
  PemIdentity identity;
  std::string client_ca;

  friend bool operator==(const TlsMaterial&, const TlsMaterial&) = default;
};

// Reads the files and tries whether a server can use them. kInvalidArgument, in one line, names the
// flag, the file and what is wrong: one of certificate and key is missing, no or garbled PEM, a key
// that does not belong to the certificate, a certificate of the server that is not valid today.
absl::StatusOr<TlsMaterial> LoadTlsFiles(const TlsFiles& files);

}  // namespace lossd

#endif  // LOSSD_SERVER_SECURITY_TLS_FILES_H_
