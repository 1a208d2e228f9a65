#ifndef LOSSD_SERVER_METRICS_FEW_CONNECTIONS_H_
#define LOSSD_SERVER_METRICS_FEW_CONNECTIONS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "server/admission/instant.h"

namespace lossd {

// Decides which connections to a port that answers at once stay open: a new one is always taken,
// and an old one goes instead. So clients that connect and say little do not keep out those that
// ask and read. Descriptors are names here. Not thread-safe.
class FewConnections {
 public:
  struct Limits {
    size_t all;
    size_t of_address;
    Interval time;  // that a connection may take in all
  };
  explicit FewConnections(const Limits& limits) : limits_(limits) {}

  // Takes in a connection of `address`. Returns the one that must go: of the same address, or where
  // all places are taken of the address that has most, the oldest. nullopt: none.
  std::optional<int> Add(int fd, std::string address, Instant now);

  // It is closed.
  void Remove(int fd);

  // Those whose time is up, each returned once.
  std::vector<int> Expire(Instant now);

  // When the next one's time is up; the end of all time: there is none.
  Instant next() const;

  size_t size() const { return connections_.size(); }

 private:
  struct Connection {
    int fd;
    std::string address;
    Instant end;
  };
  size_t CountOf(const std::string& address) const;
  std::optional<int> EvictOldestOf(const std::string& address);

  const Limits limits_;
  std::vector<Connection> connections_;  // the oldest first
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_FEW_CONNECTIONS_H_
