#ifndef LOSSD_SERVER_LISTEN_ADDRESS_H_
#define LOSSD_SERVER_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lossd {

// Where to listen: host:port, [IPv6]:port or unix:/path.
class ListenAddress {
 public:
  // kInvalidArgument says what is wrong with the form; nothing is looked up.
  static absl::StatusOr<ListenAddress> Parse(const std::string& text);

  bool is_unix() const { return port_ < 0; }

  // For gRPC, as written by the user.
  const std::string& text() const { return text_; }

  // For people, with the port that was bound.
  std::string WithPort(int bound_port) const;

  // Tries whether a listener can be bound; kFailedPrecondition says why not. Asked before gRPC
  // binds, because gRPC is content with one of several addresses of a host, and replaces the socket
  // file of a Unix address whoever listens on it. The socket file of a server that is gone is
  // removed.
  absl::Status CheckFree() const;

 private:
  absl::Status CheckUnixFree() const;
  absl::Status CannotListen(const std::string& why) const;

  std::string text_;
  std::string host_;  // without brackets; of a Unix address, the path
  int port_ = -1;     // -1: Unix
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_ADDRESS_H_
