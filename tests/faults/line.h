#ifndef LOSSD_TESTS_FAULTS_LINE_H_
#define LOSSD_TESTS_FAULTS_LINE_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace lossd {

// What a client needs to encrypt: it offers HTTP/2 and takes any certificate.
struct TlsDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* session) const { SSL_free(session); }
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsDeleter>;
TlsContext ClientTls();

// The first message of a TLS handshake, so that it can be sent in part.
std::string ClientHello(SSL_CTX* tls);

// Bytes to a server and back, over TCP or a Unix socket, encrypted or not. No call here takes
// longer than a second: what a server does not take or send by then is given up.
class Line {
 public:
  // `address` is 127.0.0.1:port or unix:/path. TCP comes from 127.0.0.`peer`. Encrypted where
  // `tls`, which has to outlive this, is not null.
  Line(const std::string& address, int peer, SSL_CTX* tls);
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  // False: the server was not reached, the handshake failed, or the server has closed.
  bool open() const { return fd_ >= 0 && open_; }

  bool Send(absl::string_view bytes);

  // What there is now or comes within that time; empty: nothing.
  std::string Read(absl::Duration patience);

  void HalfClose();
  void Reset();  // closes so that the server gets a reset in place of a FIN

 private:
  bool Readable(absl::Duration patience) const;

  int fd_ = -1;
  bool open_ = false;
  std::unique_ptr<SSL, TlsDeleter> tls_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_LINE_H_
