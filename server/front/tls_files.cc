#include "server/front/tls_files.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "server/front/text_file.h"

namespace lossd {
namespace {

constexpr char kCertificateFlag[] = "--tls-cert";
constexpr char kKeyFlag[] = "--tls-key";
constexpr char kClientCaFlag[] = "--tls-client-ca";

template <class T, void (*kFree)(T*)>
struct Free {
  void operator()(T* object) const { kFree(object); }
};
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Input = std::unique_ptr<BIO, FreeBio>;

absl::Status Refused(const std::string& flag, const std::string& path, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(flag, " ", path, ": ", why));
}

Input InputOf(const std::string& text) {
  return Input(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Instead of asking at the terminal.
int NoPassword(char* buffer, int size, int writing, void* context) { return -1; }

// All certificates of a file, at least one.
absl::StatusOr<std::vector<Certificate>> Certificates(const std::string& flag,
                                                      const std::string& path,
                                                      const std::string& text) {
  std::vector<Certificate> certificates;
  const Input input = InputOf(text);
  ERR_clear_error();
  while (X509* const one = PEM_read_bio_X509(input.get(), nullptr, NoPassword, nullptr)) {
    certificates.emplace_back(one);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end) {
    return Refused(flag, path,
                   absl::StrCat("certificate ", certificates.size() + 1, " in it is garbled"));
  }
  if (certificates.empty()) return Refused(flag, path, "has no certificate in PEM form");
  return certificates;
}

std::string TextOf(const ASN1_TIME* time) {
  const Input output(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(output.get(), time);
  char* text = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(output.get(), &text));
  return {text, size};
}

absl::Status CheckDates(const std::string& path, const X509* certificate) {
  const ASN1_TIME* const begin = X509_get0_notBefore(certificate);
  const ASN1_TIME* const end = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(begin) > 0) {
    return Refused(kCertificateFlag, path,
                   absl::StrCat("the certificate is not valid before ", TextOf(begin)));
  }
  if (X509_cmp_current_time(end) < 0) {
    return Refused(kCertificateFlag, path,
                   absl::StrCat("the certificate has expired on ", TextOf(end)));
  }
  return absl::OkStatus();
}

absl::Status CheckKey(const TlsFiles& files, const std::string& text, const X509* certificate) {
  const Input input = InputOf(text);
  const Key key(PEM_read_bio_PrivateKey(input.get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return Refused(kKeyFlag, files.key, "has no private key in PEM form, or it is encrypted");
  }
  const bool fits = X509_check_private_key(certificate, key.get()) == 1;
  ERR_clear_error();
  if (fits) return absl::OkStatus();
  return Refused(kKeyFlag, files.key,
                 absl::StrCat("the key does not belong to the certificate in ", files.certificate));
}

absl::Status CheckComplete(const TlsFiles& files) {
  if (files.certificate.empty()) {
    const char* const flag = files.key.empty() ? kClientCaFlag : kKeyFlag;
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is given without ", kCertificateFlag, "; wanted both"));
  }
  if (files.key.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(kCertificateFlag, " is given without ", kKeyFlag, "; wanted both"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> TlsFiles::Paths() const {
  std::vector<std::string> paths = {certificate, key};
  if (!client_ca.empty()) paths.push_back(client_ca);
  return paths;
}

absl::StatusOr<TlsMaterial> LoadTlsFiles(const TlsFiles& files) {
  LOSSD_RETURN_IF_ERROR(CheckComplete(files));
  TlsMaterial material;
  LOSSD_ASSIGN_OR_RETURN(material.certificate, ReadTextFile(kCertificateFlag, files.certificate));
  LOSSD_ASSIGN_OR_RETURN(material.key, ReadTextFile(kKeyFlag, files.key));
  LOSSD_ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                         Certificates(kCertificateFlag, files.certificate, material.certificate));
  LOSSD_RETURN_IF_ERROR(CheckKey(files, material.key, chain.front().get()));
  LOSSD_RETURN_IF_ERROR(CheckDates(files.certificate, chain.front().get()));
  if (!files.client_ca.empty()) {
    LOSSD_ASSIGN_OR_RETURN(material.client_ca, ReadTextFile(kClientCaFlag, files.client_ca));
    LOSSD_RETURN_IF_ERROR(
        Certificates(kClientCaFlag, files.client_ca, material.client_ca).status());
  }
  return material;
}

}  // namespace lossd
