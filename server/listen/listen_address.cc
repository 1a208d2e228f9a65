#include "server/listen/listen_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"

namespace lossd {

using AddressList = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

namespace {

constexpr std::string_view kUnixPrefix = "unix:";

// The permissions of its directory decide who may connect to a socket with a path.
constexpr std::string_view kAbstract = "is an abstract socket, which every user may connect to";

absl::Status BadForm(const std::string& text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(text, " ",
                                                 absl::string_view(why.data(), why.size()),
                                                 "; wanted HOST:PORT, [IPV6]:PORT or unix:/PATH"));
}

// Ports the system picks may be taken at the next address of the host; then it picks another.
constexpr int kPortAttempts = 16;

bool IsLoopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(address);
    return (ntohl(v4->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  if (address->sa_family != AF_INET6) return false;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

void SetPort(sockaddr* address, int port) {
  const auto value = htons(static_cast<uint16_t>(port));
  if (address->sa_family == AF_INET) reinterpret_cast<sockaddr_in*>(address)->sin_port = value;
  if (address->sa_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(address)->sin6_port = value;
}

// Whether an address before `one` in the list is the same: hosts files name some twice.
bool IsRepeated(const addrinfo* list, const addrinfo* one) {
  for (; list != one; list = list->ai_next) {
    if (list->ai_addrlen == one->ai_addrlen &&
        std::memcmp(list->ai_addr, one->ai_addr, one->ai_addrlen) == 0) {
      return true;
    }
  }
  return false;
}

// Listens on all of `list` with one port; 0, or the error. `sockets` is empty unless it is 0.
int ListenOnAll(const AddressList& list, int port, std::vector<ListenSocket>& sockets) {
  int last_error = 0;
  for (addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    SetPort(one->ai_addr, sockets.empty() ? port : sockets.front().Port());
    if (IsRepeated(list.get(), one)) continue;
    ListenSocket socket;
    if (socket.Listen(one->ai_family, one->ai_addr, one->ai_addrlen)) {
      sockets.push_back(std::move(socket));
      continue;
    }
    last_error = errno;  // a host without IPv6 may still name an IPv6 address
    if (last_error == EADDRINUSE) break;
  }
  if (!sockets.empty() && last_error != EADDRINUSE) return 0;
  sockets.clear();
  return last_error;
}

}  // namespace

absl::StatusOr<ListenAddress> ListenAddress::Parse(const std::string& text) {
  ListenAddress address;
  address.text_ = text;
  if (text.starts_with(kUnixPrefix)) {
    address.host_ = text.substr(kUnixPrefix.size());
    if (address.host_.empty()) return BadForm(text, "has no path");
    if (address.host_[0] == '@') return BadForm(text, kAbstract);
    if (address.host_.size() >= sizeof(sockaddr_un::sun_path)) {
      return BadForm(text, absl::StrCat("has a path of ", address.host_.size(),
                                        " bytes, the system takes at most ",
                                        sizeof(sockaddr_un::sun_path) - 1));
    }
    return address;
  }
  if (text.starts_with("unix-abstract:")) return BadForm(text, kAbstract);
  if (text.find("://") != std::string::npos) return BadForm(text, "is a URL");
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return BadForm(text, "has no port");
  const std::string port = text.substr(colon + 1);
  if (port.find_first_not_of("0123456789") != std::string::npos ||
      !absl::SimpleAtoi(port, &address.port_) || address.port_ > 65535) {
    return BadForm(text, "has a port that is not a number in 0..65535");
  }
  address.host_ = text.substr(0, colon);
  if (address.host_.starts_with('[') && address.host_.ends_with(']')) {
    address.host_ = address.host_.substr(1, address.host_.size() - 2);
  } else if (address.host_.find(':') != std::string::npos) {
    return BadForm(text, "has an IPv6 address without brackets");
  }
  if (address.host_.empty()) return BadForm(text, "has no host");
  return address;
}

std::string ListenAddress::WithPort(int bound_port) const {
  if (is_unix()) return text_;
  return absl::StrCat(text_.substr(0, text_.rfind(':')), ":", bound_port);
}

absl::Status ListenAddress::CannotListen(const std::string& why) const {
  return absl::FailedPreconditionError(absl::StrCat("cannot listen on ", text_, ": ", why));
}

absl::StatusOr<AddressList> ListenAddress::LookUp() const {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int looked_up = getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &found);
  if (looked_up != 0) return CannotListen(gai_strerror(looked_up));
  return AddressList(found, freeaddrinfo);
}

absl::StatusOr<bool> ListenAddress::IsLocal() const {
  if (is_unix()) return true;
  LOSSD_ASSIGN_OR_RETURN(const AddressList list, LookUp());
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    if (!IsLoopback(one->ai_addr)) return false;
  }
  return true;
}

absl::StatusOr<std::vector<ListenSocket>> ListenAddress::Listen(UnixAccess access) const {
  if (is_unix()) return ListenUnix(access);
  LOSSD_ASSIGN_OR_RETURN(const AddressList list, LookUp());
  std::vector<ListenSocket> sockets;
  int error = 0;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    error = ListenOnAll(list, port_, sockets);
    if (error == 0) return sockets;
    if (error != EADDRINUSE || port_ != 0) break;
  }
  return CannotListen(std::strerror(error));
}

absl::StatusOr<std::vector<ListenSocket>> ListenAddress::ListenUnix(UnixAccess access) const {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  host_.copy(name.sun_path, sizeof(name.sun_path) - 1);
  const auto* const address = reinterpret_cast<const sockaddr*>(&name);
  struct stat file;
  if (lstat(host_.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) return CannotListen("the file exists and is not a socket");
    const OwnedFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(probe.get(), address, sizeof(name)) == 0) {
      return CannotListen("another server listens on it");
    }
    if (errno != ECONNREFUSED) return CannotListen(std::strerror(errno));
    unlink(host_.c_str());  // its server is gone
  }
  std::vector<ListenSocket> sockets(1);
  // Nobody can connect before the mode is set: the socket does not listen yet.
  const mode_t mode = access == UnixAccess::kOwnUser ? 0600 : 0;
  if (sockets[0].Listen(AF_UNIX, address, sizeof(name), mode)) return sockets;
  return CannotListen(std::strerror(errno));
}

}  // namespace lossd
