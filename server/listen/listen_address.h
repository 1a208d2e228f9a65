#ifndef LOSSD_SERVER_LISTEN_LISTEN_ADDRESS_H_
#define LOSSD_SERVER_LISTEN_LISTEN_ADDRESS_H_

#include <netdb.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/listen/listen_socket.h"

namespace lossd {

// Who may connect to a Unix socket: whoever its folder lets, as the mask of files says, or this
// process's own user.
enum class UnixAccess : int8_t { kByMask, kOwnUser };

// Where to listen: host:port, [IPv6]:port or unix:/path.
class ListenAddress {
 public:
  // kInvalidArgument says what is wrong with the form; nothing is looked up.
  static absl::StatusOr<ListenAddress> Parse(const std::string& text);

  bool is_unix() const { return port_ < 0; }

  // As written by the user.
  const std::string& text() const { return text_; }

  // For people, with the port that was bound.
  std::string WithPort(int bound_port) const;

  // Whether only processes of this machine can come in: a Unix socket, or a host with no address
  // but loopback ones. kFailedPrecondition if the host cannot be looked up.
  absl::StatusOr<bool> IsLocal() const;

  // Listens on every address of the host that this machine has, on one port; or on the Unix socket,
  // whose file is replaced if its server is gone. kFailedPrecondition says why not, also if another
  // server listens on any of the addresses.
  absl::StatusOr<std::vector<ListenSocket>> Listen(UnixAccess access = UnixAccess::kByMask) const;

 private:
  absl::StatusOr<std::unique_ptr<addrinfo, void (*)(addrinfo*)>> LookUp() const;
  absl::StatusOr<std::vector<ListenSocket>> ListenUnix(UnixAccess access) const;
  absl::Status CannotListen(const std::string& why) const;

  std::string text_;
  std::string host_;  // without brackets; of a Unix address, the path
  int port_ = -1;     // -1: Unix
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_LISTEN_ADDRESS_H_
