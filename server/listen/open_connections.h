#ifndef LOSSD_SERVER_LISTEN_OPEN_CONNECTIONS_H_
#define LOSSD_SERVER_LISTEN_OPEN_CONNECTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/admission/connection_account.h"

namespace lossd {

// Connections whose sockets were given away to gRPC, which does not tell when it closes one. A
// socket is still the one that was given away as long as its descriptor leads to the same inode: a
// closed descriptor leads nowhere, one used again to another socket. (docs/adr/006)
class OpenConnections {
 public:
  // `ledger` outlives this.
  explicit OpenConnections(Ledger* ledger) : ledger_(ledger) {}
  ~OpenConnections();
  OpenConnections(const OpenConnections&) = delete;
  OpenConnections& operator=(const OpenConnections&) = delete;

  // An open socket with its account, before it is given away.
  void Add(int fd, std::shared_ptr<ConnectionAccount> account);

  // Whether fewer than `limit` are open. Looks at all of them only when there might not be, and
  // then at most every kLookAgain while there are not.
  bool Below(int64_t limit, absl::Time now);

  // How many are open; looks at all of them.
  int64_t Count();

  // The same without looking: none that is open is left out.
  int64_t at_most() const { return static_cast<int64_t>(sockets_.size()); }
  int64_t of_address(std::string_view address) const;

  // Whether there is nothing to look at: none is open, and gRPC has closed all that were broken.
  bool none() const { return sockets_.empty() && shut_down_.empty(); }

  // Those on which no call ever began: of TLS, they may still shake hands.
  int64_t without_calls() const;

  // Shuts down the connection of this name, so that gRPC finds it broken. False: there is none.
  bool Break(std::string_view name);

  // Shuts down once more whatever is closed by its peer or by this and still open here. gRPC can
  // overlook that a connection was reset, and then keeps it until it next writes; the kernel
  // reports a shutdown again, even of a socket that is closed. (docs/adr/034)
  void ReportClosedAgain();

  // Makes room for a connection from `address`: breaks one of the address that has most, if that
  // has more than `address` would have with one more. Which: one on which no call ever began,
  // else one without a call, else any; of these the newest. False: there is none to be broken.
  bool MakeRoomFor(std::string_view address);

  // Of the connections on which no call ever began, breaks the oldest of the address that has most
  // of them. False: there is none.
  bool BreakOneWithoutCalls();

 private:
  static constexpr absl::Duration kLookAgain = absl::Milliseconds(10);

  // What was given away, as long as the descriptor leads to the inode.
  struct Handle {
    bool IsOpen() const;

    int fd;
    ino_t inode;
  };
  struct Socket {
    Handle handle;
    std::string address;
    std::shared_ptr<ConnectionAccount> account;
  };
  using Counts = std::map<std::string_view, int64_t>;

  static void Shutdown(const Handle& handle);
  void BreakAt(std::vector<Socket>::iterator socket);
  void LookAtSome();
  void Forget(const Socket& socket);

  Ledger* const ledger_;
  std::vector<Socket> sockets_;    // the oldest first
  size_t next_look_ = 0;           // of sockets_
  std::vector<Handle> shut_down_;  // here, and not closed by gRPC when last seen
  std::map<std::string, int64_t, std::less<>> counts_;  // by address
  absl::Time full_at_ = absl::InfinitePast();           // when they were found to be too many
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_OPEN_CONNECTIONS_H_
