#include "tests/faults/line.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

constexpr timeval kPatience{1, 0};

int ConnectUnix(const std::string& path) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

int ConnectFrom(const std::string& peer, const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in from{};
  from.sin_family = AF_INET;
  sockaddr_in to = from;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  inet_pton(AF_INET, peer.c_str(), &from.sin_addr);
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  // The port is chosen with the connection, so it may be shared with others that lead elsewhere.
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0 &&
      connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

}  // namespace

TlsContext ClientTls() {
  TlsContext context(SSL_CTX_new(TLS_client_method()));
  const unsigned char h2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), h2, sizeof h2);
  return context;
}

std::string ClientHello(SSL_CTX* tls) {
  const std::unique_ptr<SSL, TlsDeleter> session(SSL_new(tls));
  BIO* const out = BIO_new(BIO_s_mem());
  SSL_set_bio(session.get(), BIO_new(BIO_s_mem()), out);
  SSL_connect(session.get());  // stops where it waits for the answer
  std::string hello(BIO_pending(out), '\0');
  BIO_read(out, hello.data(), static_cast<int>(hello.size()));
  return hello;
}

Line::Line(const std::string& address, int peer, SSL_CTX* tls) {
  absl::string_view path = address;
  fd_ = absl::ConsumePrefix(&path, "unix:") ? ConnectUnix(std::string(path))
                                            : ConnectFrom(absl::StrCat("127.0.0.", peer), address);
  if (fd_ < 0) return;
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  open_ = true;
  if (tls == nullptr) return;
  tls_.reset(SSL_new(tls));
  SSL_set_fd(tls_.get(), fd_);
  open_ = SSL_connect(tls_.get()) == 1;
}

Line::~Line() {
  if (fd_ >= 0) close(fd_);
}

void Line::Reset() {
  const linger at_once{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(std::exchange(fd_, -1));
}

void Line::HalfClose() {
  if (tls_ != nullptr) SSL_shutdown(tls_.get());
  shutdown(fd_, SHUT_WR);
}

bool Line::Send(absl::string_view bytes) {
  while (open() && !bytes.empty()) {
    const ssize_t sent = tls_ != nullptr
                             ? SSL_write(tls_.get(), bytes.data(), static_cast<int>(bytes.size()))
                             : send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      open_ = false;
    } else {
      bytes.remove_prefix(sent);
    }
  }
  return open();
}

bool Line::Readable(absl::Duration patience) const {
  if (tls_ != nullptr && SSL_pending(tls_.get()) > 0) return true;
  pollfd readable{fd_, POLLIN, 0};
  return poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) > 0;
}

std::string Line::Read(absl::Duration patience) {
  std::string bytes(64 << 10, '\0');
  ssize_t got = 0;
  if (open() && Readable(patience)) {
    got = tls_ != nullptr ? SSL_read(tls_.get(), bytes.data(), static_cast<int>(bytes.size()))
                          : recv(fd_, bytes.data(), bytes.size(), 0);
    if (got <= 0) open_ = false;
  }
  bytes.resize(std::max<ssize_t>(got, 0));
  return bytes;
}

}  // namespace lossd
