#ifndef LOSSD_SERVER_FRONT_OPEN_CONNECTIONS_H_
#define LOSSD_SERVER_FRONT_OPEN_CONNECTIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/front/listen_socket.h"

namespace lossd {

// Counts connections whose sockets were given away to gRPC, which does not tell when it closes one.
// A socket is still the one that was given away as long as its descriptor leads to the same inode:
// a closed descriptor leads nowhere, one used again to another socket. (docs/adr/006)
class OpenConnections {
 public:
  // Of an open socket, before it is given away.
  void Add(int fd);

  // Whether fewer than `limit` are open. Looks at all of them only when there might not be, and
  // then at most every kLookAgain while there are not.
  bool Below(int64_t limit, absl::Time now);

  // How many are open; looks at all of them.
  int64_t Count();

  // Shuts down the TCP connection whose other end gRPC calls `peer` ("ipv4:1.2.3.4:567"), so that
  // gRPC finds it broken. False: there is none.
  bool Break(std::string_view peer) const;

  // What that connection has received so far; nullopt: there is none.
  std::optional<int64_t> BytesReceived(std::string_view peer) const;

 private:
  static constexpr absl::Duration kLookAgain = absl::Milliseconds(10);

  struct Socket {
    int fd;
    ino_t inode;
    std::string peer;  // empty: not of TCP
  };

  // A descriptor of our own: gRPC may close its own at any time, and the system use it again. Not
  // open: the connection is gone.
  static OwnedFd Hold(const Socket& socket);

  std::vector<Socket> sockets_;
  absl::Time full_at_ = absl::InfinitePast();  // when they were found to be too many
};

}  // namespace lossd

#endif  // LOSSD_SERVER_FRONT_OPEN_CONNECTIONS_H_
