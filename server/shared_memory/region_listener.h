#ifndef LOSSD_SERVER_SHARED_MEMORY_REGION_LISTENER_H_
#define LOSSD_SERVER_SHARED_MEMORY_REGION_LISTENER_H_

#include <poll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/admission/byte_budget.h"
#include "server/admission/instant.h"
#include "server/listen/listen_socket.h"
#include "server/shared_memory/region_table.h"
#include "server/shared_memory/shared_region.h"

namespace lossd {

// What clients may share at once; a peer is a process.
struct RegionLimits {
  int64_t regions = 256;
  int64_t regions_per_peer = 64;
  int64_t bytes = 0;
  int64_t bytes_per_peer = 0;
  Interval patience = std::chrono::seconds(5);  // with a connection that shares nothing yet

  // Half of the memory that calls may hold, and a process leaves a quarter of that to others.
  static RegionLimits Of(int64_t memory_budget);
};

// Takes the memory that clients on this machine share, over a Unix socket, in a thread of its own
// (protos/wire/region_socket.h). Only processes of the server's own user may connect. A region goes
// when its connection ends, as soon as no call uses it any more.
class RegionListener {
 public:
  // Sockets of ListenAddress::Listen for a Unix address, with mode 0600. `table` and `budget`
  // outlive this, and the regions. kUnavailable if the system has no descriptors.
  static absl::StatusOr<std::unique_ptr<RegionListener>> Start(std::vector<ListenSocket> sockets,
                                                               const RegionLimits& limits,
                                                               RegionTable* table,
                                                               ByteBudget* budget);

  // Ends all connections and, with them, all regions.
  ~RegionListener();
  RegionListener(const RegionListener&) = delete;
  RegionListener& operator=(const RegionListener&) = delete;

 private:
  struct Connection {
    OwnedFd fd;
    pid_t process = 0;
    std::shared_ptr<SharedAmount> peer;  // of its process
    Instant until;                       // by when it has to share something
    size_t said = 0;                     // bytes of the request that came
    OwnedFd memory = {};
    std::shared_ptr<const SharedRegion> region = {};
    RegionTable::Token token = {};
    bool asks_when_quiet = false;
  };
  using Connections = std::list<Connection>;

  RegionListener(std::vector<ListenSocket> sockets, const RegionLimits& limits, RegionTable* table,
                 ByteBudget* budget)
      : sockets_(std::move(sockets)), limits_(limits), table_(table), budget_(budget) {}
  void Run();
  bool Turn();  // false: stopped
  int TimeoutMs(Instant now) const;
  void AcceptAll(int listener, Instant now);
  void Accept(OwnedFd fd, Instant now);

  // False, here and below: the connection is to be ended.
  bool Read(Connection& connection);
  bool TakeRequest(Connection& connection, std::string_view said);
  absl::Status Share(Connection& connection);
  absl::Status CheckLimits(const Connection& connection, int64_t bytes) const;
  bool AnswerIfQuiet(Connection& connection);
  void End(Connections::iterator connection);

  std::vector<ListenSocket> sockets_;
  const RegionLimits limits_;
  RegionTable* const table_;
  ByteBudget* const budget_;
  OwnedFd stop_read_;
  OwnedFd stop_write_;  // closed in order to stop
  Instant pause_until_ = Instant::min();
  Connections connections_;
  std::map<pid_t, std::shared_ptr<SharedAmount>> peers_;
  std::vector<pollfd> polled_;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SHARED_MEMORY_REGION_LISTENER_H_
