#ifndef LOSSD_CORE_FILES_PEM_FILES_H_
#define LOSSD_CORE_FILES_PEM_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "core/files/text_file.h"

namespace lossd {

// How one end of a TLS connection proves itself, as PEM: its certificate, then those that lead to
// its CA; and the private key of the first.
struct PemIdentity {
  std::string certificate;
  std::string key;

  friend bool operator==(const PemIdentity&, const PemIdentity&) = default;
};

// kInvalidArgument, in one line, names the file and what is wrong: one of the two not given, no or
// garbled PEM, an encrypted key, one that does not belong to the certificate, a certificate that is
// not valid today.
absl::StatusOr<PemIdentity> ReadIdentity(const NamedFile& certificate, const NamedFile& key);

// The text of a file of one or more certificates. Errors as above.
absl::StatusOr<std::string> ReadCertificates(const NamedFile& file);

}  // namespace lossd

#endif  // LOSSD_CORE_FILES_PEM_FILES_H_
