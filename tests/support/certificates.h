#ifndef LOSSD_TESTS_SUPPORT_CERTIFICATES_H_
#define LOSSD_TESTS_SUPPORT_CERTIFICATES_H_

#include <cstdint>
#include <memory>
#include <string>

namespace lossd {

// Certificate and private key as PEM.
struct Identity {
  std::string certificate;
  std::string key;
};

// A CA for tests: P-256, valid for an hour around now. What it signs is for localhost and
// 127.0.0.1, as server and as client.
class Authority {
 public:
  explicit Authority(const std::string& name);
  ~Authority();

  const std::string& certificate() const { return certificate_; }  // PEM

  // Valid from `begin` to `end`, in seconds from now.
  Identity Sign(int64_t serial, int64_t begin = -3600, int64_t end = 3600) const;

  // For others than localhost: `names` as in "DNS:host.example,IP:192.0.2.1".
  Identity SignFor(const std::string& names) const;

 private:
  struct Keys;
  Identity Sign(const std::string& names, int64_t serial, int64_t begin, int64_t end) const;

  std::unique_ptr<Keys> keys_;
  std::string certificate_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_SUPPORT_CERTIFICATES_H_
