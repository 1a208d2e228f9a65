#include "tests/server/raw_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

namespace lossd::testing {

RawSocket::RawSocket(const std::string& address, const std::string& from) {
  sockaddr_in own{};
  own.sin_family = AF_INET;
  inet_pton(AF_INET, from.c_str(), &own.sin_addr);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience = {.tv_sec = 30, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) == 0 &&
      connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) {
    return;
  }
  close(fd_);
  fd_ = -1;
}

RawSocket::~RawSocket() {
  if (fd_ >= 0) close(fd_);
}

void RawSocket::Send(std::string_view bytes) const {
  static_cast<void>(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

bool RawSocket::Closed() const {
  char bytes[4096];
  ssize_t got = 0;
  do {
    got = recv(fd_, bytes, sizeof(bytes), MSG_DONTWAIT);
  } while (got > 0);
  return got == 0 || errno == ECONNRESET;
}

bool RawSocket::WaitForClose() const {
  char bytes[4096];
  ssize_t got = 0;
  do {
    got = recv(fd_, bytes, sizeof(bytes), 0);
  } while (got > 0);
  return got == 0 || errno == ECONNRESET;
}

}  // namespace lossd::testing
