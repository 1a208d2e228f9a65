#ifndef LOSSD_SERVER_LISTEN_PEER_NAME_H_
#define LOSSD_SERVER_LISTEN_PEER_NAME_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace lossd {

// The other end of a connection: the address that gRPC is shown, and the name that it makes of it.
// No two open connections have the same name.
struct PeerName {
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string text;  // as grpc::ServerContext::peer() gives it

  bool is_unix() const { return address.ss_family == AF_UNIX; }

  // Of an IPv4 or IPv6 address with its port. Empty: it is neither.
  static PeerName Of(const sockaddr_storage& address);

  // Of the accepted socket `fd`. The clients of Unix sockets have no names, so they get one of
  // their user and `serial`: "unix:1000:17".
  static PeerName OfSocket(int fd, int64_t serial);
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_PEER_NAME_H_
