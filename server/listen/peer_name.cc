#include "server/listen/peer_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

// The user at the other end of a Unix socket.
uint32_t UserOf(int fd) {
  ucred user{};
  socklen_t size = sizeof(user);
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size) == 0 ? user.uid : UINT32_MAX;
}

PeerName OfUser(uint32_t user, int64_t serial) {
  const std::string path = absl::StrCat(user, ":", serial);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  PeerName name;
  std::memcpy(&name.address, &address, sizeof(address));
  name.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  name.text = absl::StrCat("unix:", path);
  return name;
}

}  // namespace

PeerName PeerName::Of(const sockaddr_storage& address) {
  PeerName name;
  name.address = address;
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    name.size = sizeof(v4);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    name.text = absl::StrCat("ipv4:", text, ":", ntohs(v4.sin_port));
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    name.size = sizeof(v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof(text));
      name.text = absl::StrCat("ipv4:", text, ":", ntohs(v6.sin6_port));
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
      // gRPC writes the zone of a link-local address behind a percent sign.
      const std::string zone = v6.sin6_scope_id != 0 ? absl::StrCat("%25", v6.sin6_scope_id) : "";
      name.text = absl::StrCat("ipv6:%5B", text, zone, "%5D:", ntohs(v6.sin6_port));
    }
  }
  return name;
}

PeerName PeerName::OfSocket(int fd, int64_t serial) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return address.ss_family == AF_UNIX ? OfUser(UserOf(fd), serial) : Of(address);
}

}  // namespace lossd
