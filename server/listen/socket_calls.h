#ifndef LOSSD_SERVER_LISTEN_SOCKET_CALLS_H_
#define LOSSD_SERVER_LISTEN_SOCKET_CALLS_H_

#include <cstdint>
#include <memory>

#include "server/admission/connection_account.h"
#include "server/listen/peer_name.h"

namespace lossd {

// What gRPC asks the system about the sockets it was given, and OpenSSL about what came. The
// program's own getpeername, recvmsg, sendmsg, SSL_new and SSL_read are defined here; the dynamic
// linker gives them to gRPC's library before those of the system and of OpenSSL, which they call.
// They change nothing but what is said here, and end connections whose headers FrameGuard refuses.
// (docs/adr/025, 032)

// While it lives, gRPC on this thread finds `peer` at the other end of `fd`, and what it encrypts
// is of `account`, which hears of the streams that are opened.
class HandingOver {
 public:
  HandingOver(int fd, const PeerName& peer, std::shared_ptr<ConnectionAccount> account);
  ~HandingOver();
  HandingOver(const HandingOver&) = delete;
  HandingOver& operator=(const HandingOver&) = delete;
};

// From now on `account` is told what gRPC receives and sends on `fd`; once it may not be read any
// more, gRPC finds the connection reset. Until another one is set, or null. Thread-safe.
void SetAccount(int fd, std::shared_ptr<ConnectionAccount> account);

// How many connections of this process FrameGuard has ended so far. Thread-safe.
int64_t RefusedHeaders();

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_SOCKET_CALLS_H_
