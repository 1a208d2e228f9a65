#include "tests/support/certificates.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace lossd {
namespace {

template <class Write>
std::string Pem(Write&& write) {
  BIO* const output = BIO_new(BIO_s_mem());
  write(output);
  char* text = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(output, &text));
  std::string pem(text, size);
  BIO_free(output);
  return pem;
}

std::string PemOf(X509* certificate) {
  return Pem([&](BIO* output) { PEM_write_bio_X509(output, certificate); });
}

void Extend(X509* certificate, int what, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* NewCertificate(const std::string& name, EVP_PKEY* key, int64_t serial, int64_t begin,
                     int64_t end) {
  X509* const certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), begin);
  X509_gmtime_adj(X509_getm_notAfter(certificate), end);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

}  // namespace

struct Authority::Keys {
  ~Keys() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = nullptr;
};

Authority::Authority(const std::string& name) : keys_(std::make_unique<Keys>()) {
  X509* const own = NewCertificate(name, keys_->key, 1, -3600, 3600);
  X509_set_issuer_name(own, X509_get_subject_name(own));
  Extend(own, NID_basic_constraints, "critical,CA:TRUE");
  Extend(own, NID_key_usage, "critical,keyCertSign");
  X509_sign(own, keys_->key, EVP_sha256());
  keys_->certificate = own;
  certificate_ = PemOf(own);
}

Authority::~Authority() = default;

Identity Authority::Sign(int64_t serial, int64_t begin, int64_t end) const {
  return Sign("DNS:localhost,IP:127.0.0.1", serial, begin, end);
}

Identity Authority::SignFor(const std::string& names) const { return Sign(names, 1, -3600, 3600); }

Identity Authority::Sign(const std::string& names, int64_t serial, int64_t begin,
                         int64_t end) const {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = NewCertificate("localhost", key, serial, begin, end);
  X509_set_issuer_name(certificate, X509_get_subject_name(keys_->certificate));
  Extend(certificate, NID_subject_alt_name, names.c_str());
  X509_sign(certificate, keys_->key, EVP_sha256());
  Identity identity;
  identity.certificate = PemOf(certificate);
  identity.key = Pem([&](BIO* output) {
    PEM_write_bio_PrivateKey(output, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
  X509_free(certificate);
  EVP_PKEY_free(key);
  return identity;
}

}  // namespace lossd
