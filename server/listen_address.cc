#include "server/listen_address.h"

#include <netdb.h>
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

namespace lossd {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

class Socket {
 public:
  explicit Socket(int family) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::Status BadForm(const std::string& text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(text, " ",
                                                 absl::string_view(why.data(), why.size()),
                                                 "; wanted HOST:PORT, [IPV6]:PORT or unix:/PATH"));
}

// 0, or why the address cannot be bound.
int BindError(int family, const sockaddr* address, socklen_t size) {
  const Socket probe(family);
  const int on = 1;
  setsockopt(probe.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  return bind(probe.fd(), address, size) == 0 ? 0 : errno;
}

}  // namespace

absl::StatusOr<ListenAddress> ListenAddress::Parse(const std::string& text) {
  ListenAddress address;
  address.text_ = text;
  if (text.starts_with(kUnixPrefix)) {
    address.host_ = text.substr(kUnixPrefix.size());
    if (address.host_.empty()) return BadForm(text, "has no path");
    if (address.host_.size() >= sizeof(sockaddr_un::sun_path)) {
      return BadForm(text, absl::StrCat("has a path of ", address.host_.size(),
                                        " bytes, the system takes at most ",
                                        sizeof(sockaddr_un::sun_path) - 1));
    }
    return address;
  }
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

absl::Status ListenAddress::CheckFree() const {
  if (is_unix()) return CheckUnixFree();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int looked_up = getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &found);
  if (looked_up != 0) return CannotListen(gai_strerror(looked_up));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  int last_error = 0;
  bool usable = false;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    last_error = BindError(one->ai_family, one->ai_addr, one->ai_addrlen);
    if (last_error == EADDRINUSE) break;
    usable = usable || last_error == 0;  // a host without IPv6 may still name an IPv6 address
  }
  if (usable && last_error != EADDRINUSE) return absl::OkStatus();
  return CannotListen(std::strerror(last_error));
}

absl::Status ListenAddress::CheckUnixFree() const {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  host_.copy(name.sun_path, sizeof(name.sun_path) - 1);
  const auto* const address = reinterpret_cast<const sockaddr*>(&name);
  struct stat file;
  if (lstat(host_.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) return CannotListen("the file exists and is not a socket");
    const Socket probe(AF_UNIX);
    if (connect(probe.fd(), address, sizeof(name)) == 0) {
      return CannotListen("another server listens on it");
    }
    if (errno != ECONNREFUSED) return CannotListen(std::strerror(errno));
    unlink(host_.c_str());  // its server is gone
  }
  if (const int error = BindError(AF_UNIX, address, sizeof(name)); error != 0) {
    return CannotListen(std::strerror(error));
  }
  unlink(host_.c_str());
  return absl::OkStatus();
}

}  // namespace lossd
