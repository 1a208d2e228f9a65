#include "server/front/open_connections.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "server/front/listen_socket.h"

namespace lossd {
namespace {

ino_t InodeOf(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 ? about.st_ino : 0;
}

// The other end as gRPC names it; empty: it is not one of TCP.
std::string PeerOf(int fd) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return "";
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(v4.sin_port));
  }
  if (peer.ss_family != AF_INET6) return "";
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(peer);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(v6.sin6_port));
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
  return absl::StrCat("ipv6:%5B", text, "%5D:", ntohs(v6.sin6_port));
}

}  // namespace

void OpenConnections::Add(int fd) { sockets_.push_back({fd, InodeOf(fd), PeerOf(fd)}); }

bool OpenConnections::Below(int64_t limit, absl::Time now) {
  if (static_cast<int64_t>(sockets_.size()) < limit) return true;
  if (now < full_at_ + kLookAgain) return false;
  if (Count() < limit) return true;
  full_at_ = now;
  return false;
}

int64_t OpenConnections::Count() {
  std::erase_if(sockets_, [](const Socket& one) { return InodeOf(one.fd) != one.inode; });
  return static_cast<int64_t>(sockets_.size());
}

OwnedFd OpenConnections::Hold(const Socket& socket) {
  OwnedFd own(fcntl(socket.fd, F_DUPFD_CLOEXEC, 0));
  if (own.get() >= 0 && InodeOf(own.get()) != socket.inode) return OwnedFd();
  return own;
}

bool OpenConnections::Break(std::string_view peer) const {
  for (const Socket& one : sockets_) {
    if (one.peer.empty() || one.peer != peer) continue;
    const OwnedFd own = Hold(one);
    if (own.get() < 0) continue;
    shutdown(own.get(), SHUT_RDWR);
    return true;
  }
  return false;
}

std::optional<int64_t> OpenConnections::BytesReceived(std::string_view peer) const {
  for (const Socket& one : sockets_) {
    if (one.peer.empty() || one.peer != peer) continue;
    const OwnedFd own = Hold(one);
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (own.get() < 0 || getsockopt(own.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    return static_cast<int64_t>(info.tcpi_bytes_received);
  }
  return std::nullopt;
}

}  // namespace lossd
