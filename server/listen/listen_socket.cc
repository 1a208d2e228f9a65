#include "server/listen/listen_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace lossd {
namespace {

// Connections the system makes before the server takes them.
constexpr int kBacklog = 4096;

// A peer that acknowledges nothing for so long is gone: gRPC's own default for servers.
constexpr int kUserTimeoutMs = 20'000;

void SetOption(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof(value));
}

bool IsAnyAddress(const sockaddr* address) {
  if (address->sa_family != AF_INET6) return false;
  return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

bool ListenSocket::Listen(int family, const sockaddr* address, socklen_t size, mode_t mode) {
  OwnedFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return false;
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  // [::] takes IPv4 too; an IPv6 address of a host leaves the host's IPv4 address its own socket.
  if (family == AF_INET6) {
    SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, IsAnyAddress(address) ? 0 : 1);
  }
  if (family != AF_UNIX) {  // accepted sockets inherit both
    SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    SetOption(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
  }
  if (bind(fd.get(), address, size) != 0) return false;
  if (family == AF_UNIX) path_ = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
  if (mode != 0 && chmod(path_.c_str(), mode) != 0) return false;
  if (listen(fd.get(), kBacklog) != 0) return false;
  fd_ = std::move(fd);
  return true;
}

// The file goes first: once the socket is closed, another server may have put its own there.
ListenSocket::~ListenSocket() {
  if (!path_.empty()) unlink(path_.c_str());
}

int ListenSocket::Port() const {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(fd(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  if (bound.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(bound).sin_port);
  if (bound.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(bound).sin6_port);
  return 0;
}

}  // namespace lossd
