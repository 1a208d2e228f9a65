#ifndef LOSSD_TESTS_FAULTS_PROXY_H_
#define LOSSD_TESTS_FAULTS_PROXY_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "tests/support/random.h"

namespace lossd {

// What a proxy does to bytes. "Up" is from client to server; -1: nowhere.
struct ProxyFaults {
  uint64_t seed = 1;
  int64_t max_segment = 64 << 10;  // pieces of 1 .. max_segment bytes, each a send of its own
  absl::Duration delay = absl::ZeroDuration();  // of every piece; makes small ones one, too
  int64_t reset_up_at = -1;                     // after so many bytes both sides get a reset
  int64_t reset_down_at = -1;
  int64_t flip_up_at = -1;  // that byte arrives with one bit changed
  int64_t flip_down_at = -1;
  int64_t stall_up_at = -1;  // after so many bytes nothing more is read; the connection stays
  int64_t stall_down_at = -1;
  int faulty_connections =
      1;  // the first so many; to those after it, only segments and delay happen
};

// A TCP proxy on a free loopback port, in a thread of its own. To the server its clients are a peer
// of their own (see ConnectTcp).
class Proxy {
 public:
  Proxy(const std::string& to, const ProxyFaults& faults);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  const std::string& address() const { return address_; }
  int64_t bytes_up() const { return up_; }
  int64_t bytes_down() const { return down_; }
  int connections() const { return connections_; }

 private:
  struct Piece {
    absl::Time due;
    std::string bytes;
  };
  // One direction of one connection.
  struct Way {
    int from = -1;
    int to = -1;
    int64_t reset_at, flip_at, stall_at;
    int64_t seen = 0;
    int64_t queued = 0;
    bool ended = false;   // `from` has sent its FIN
    bool closed = false;  // and it was passed on
    std::list<Piece> pieces;

    bool stalled() const { return stall_at >= 0 && seen >= stall_at; }
  };
  struct Link {
    Way up, down;
  };

  void Run();
  void Accept();
  // Both: false where the connection is to be dropped.
  bool Take(Way& way, std::atomic<int64_t>& count);
  bool Give(Way& way, absl::Time now);
  void Drop(Link& link);

  const std::string to_;
  const ProxyFaults faults_;
  oracle::Random random_;
  std::string address_;
  int listener_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> up_{0};
  std::atomic<int64_t> down_{0};
  std::atomic<int> connections_{0};
  std::list<Link> links_;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_PROXY_H_
