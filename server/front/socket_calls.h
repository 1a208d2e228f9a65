#ifndef LOSSD_SERVER_FRONT_SOCKET_CALLS_H_
#define LOSSD_SERVER_FRONT_SOCKET_CALLS_H_

#include <memory>

#include "server/admission/connection_account.h"
#include "server/front/peer_name.h"

namespace lossd {

// What gRPC asks the system about the sockets it was given. The program's own getpeername, recvmsg
// and sendmsg are defined here; the dynamic linker gives them to gRPC's library before the
// system's, which they call in turn. They change nothing but what is said here. (docs/adr/025)

// While it lives, gRPC on this thread finds `peer` at the other end of `fd`.
class HandingOver {
 public:
  HandingOver(int fd, const PeerName& peer);
  ~HandingOver();
  HandingOver(const HandingOver&) = delete;
  HandingOver& operator=(const HandingOver&) = delete;
};

// From now on `account` is told what gRPC receives and sends on `fd`; once it may not be read any
// more, gRPC finds the connection reset. Until another one is set, or null. Thread-safe.
void SetAccount(int fd, std::shared_ptr<ConnectionAccount> account);

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_SOCKET_CALLS_H_
