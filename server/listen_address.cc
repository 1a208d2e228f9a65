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

absl::Status CannotListen(const std::string& address, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat("cannot listen on ", address, ": ", why));
}

// 0, or why no listener can be bound.
int BindError(const addrinfo& address) {
  const Socket probe(address.ai_family);
  const int on = 1;
  setsockopt(probe.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(probe.fd(), address.ai_addr, address.ai_addrlen) != 0) return errno;
  if (listen(probe.fd(), 1) != 0) return errno;
  return 0;
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

absl::Status ListenAddress::CheckFree() const {
  if (!is_unix()) return absl::OkStatus();
  struct stat file;
  if (lstat(host_.c_str(), &file) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return CannotListen(text_, std::strerror(errno));
  }
  if (!S_ISSOCK(file.st_mode)) {
    return CannotListen(text_, "the file exists and is not a socket");
  }
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  host_.copy(name.sun_path, sizeof(name.sun_path) - 1);
  const Socket probe(AF_UNIX);
  if (connect(probe.fd(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return CannotListen(text_, "another server listens on it");
  }
  if (errno == ECONNREFUSED) return absl::OkStatus();  // its server is gone
  return CannotListen(text_, std::strerror(errno));
}

absl::Status ListenAddress::WhyNot() const {
  if (is_unix()) {
    return CannotListen(text_, "the socket cannot be made; is its directory there and writable?");
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int looked_up = getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &found);
  if (looked_up != 0) return CannotListen(text_, gai_strerror(looked_up));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int error = BindError(*address);
    if (error != 0) return CannotListen(text_, std::strerror(error));
  }
  return CannotListen(text_, "gRPC could not bind it");
}

}  // namespace lossd
