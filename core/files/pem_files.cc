#include "core/files/pem_files.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

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

Input InputOf(const std::string& text) {
  return Input(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Instead of asking at the terminal.
int NoPassword(char* buffer, int size, int writing, void* context) { return -1; }

// All certificates of a file, at least one.
absl::StatusOr<std::vector<Certificate>> Certificates(const NamedFile& file,
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
    return CannotUse(file,
                     absl::StrCat("certificate ", certificates.size() + 1, " in it is garbled"));
  }
  if (certificates.empty()) return CannotUse(file, "has no certificate in PEM form");
  return certificates;
}

std::string TextOf(const ASN1_TIME* time) {
  const Input output(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(output.get(), time);
  char* text = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(output.get(), &text));
  return {text, size};
}

absl::Status CheckDates(const NamedFile& file, const X509* certificate) {
  const ASN1_TIME* const begin = X509_get0_notBefore(certificate);
  const ASN1_TIME* const end = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(begin) > 0) {
    return CannotUse(file, absl::StrCat("the certificate is not valid before ", TextOf(begin)));
  }
  if (X509_cmp_current_time(end) < 0) {
    return CannotUse(file, absl::StrCat("the certificate has expired on ", TextOf(end)));
  }
  return absl::OkStatus();
}

absl::Status CheckKey(const NamedFile& file, const std::string& text,
                      const NamedFile& certificate_file, const X509* certificate) {
  const Input input = InputOf(text);
  const Key key(PEM_read_bio_PrivateKey(input.get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return CannotUse(file, "has no private key in PEM form, or it is encrypted");
  }
  const bool fits = X509_check_private_key(certificate, key.get()) == 1;
  ERR_clear_error();
  if (fits) return absl::OkStatus();
  return CannotUse(
      file, absl::StrCat("the key does not belong to the certificate in ", certificate_file.path));
}

absl::Status CheckBothGiven(const NamedFile& one, const NamedFile& other) {
  if (one.path.empty() || !other.path.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(one.option, " is given without ", other.option, "; wanted both"));
}

}  // namespace

absl::StatusOr<std::string> ReadCertificates(const NamedFile& file) {
  LOSSD_ASSIGN_OR_RETURN(std::string text, ReadTextFile(file));
  LOSSD_RETURN_IF_ERROR(Certificates(file, text).status());
  return text;
}

absl::StatusOr<PemIdentity> ReadIdentity(const NamedFile& certificate, const NamedFile& key) {
  LOSSD_RETURN_IF_ERROR(CheckBothGiven(certificate, key));
  LOSSD_RETURN_IF_ERROR(CheckBothGiven(key, certificate));
  PemIdentity identity;
  LOSSD_ASSIGN_OR_RETURN(identity.certificate, ReadTextFile(certificate));
  LOSSD_ASSIGN_OR_RETURN(identity.key, ReadTextFile(key));
  LOSSD_ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                         Certificates(certificate, identity.certificate));
  LOSSD_RETURN_IF_ERROR(CheckKey(key, identity.key, certificate, chain.front().get()));
  LOSSD_RETURN_IF_ERROR(CheckDates(certificate, chain.front().get()));
  return identity;
}

}  // namespace lossd
