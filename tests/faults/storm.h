#ifndef LOSSD_TESTS_FAULTS_STORM_H_
#define LOSSD_TESTS_FAULTS_STORM_H_

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/line.h"
#include "tests/faults/storm_calls.h"

namespace lossd {

// What a storm is let loose on.
struct StormTarget {
  std::vector<std::string> addresses;  // where calls go: TCP on 127.0.0.1, Unix sockets
  std::string health_address;          // always without TLS
  std::string ca_file;                 // empty: no TLS
  std::string token_file;              // empty: no tokens
  std::string token;
};

// Strangers and clients who call, rightly and wrongly, and break off at any moment, until this is
// destroyed. Each draws what it does from the seed (LOSSD_TEST_SEED) and from its own number, so a
// run with the same seed does the same, as far as the network and the server answer the same.
class Storm {
 public:
  explicit Storm(const StormTarget& target);
  ~Storm();
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  // Ends it and says on standard output what it did.
  void Stop();

  // Calls that ended with that status, and calls of that row that were begun.
  int64_t ended(int status) const;
  int64_t begun(const std::string& row) const;
  int64_t killed() const { return killed_; }

 private:
  class Stranger;

  void Attack(int number);
  // Clients of ours, as processes, that are killed after a while.
  void Kill();

  // Returns early, and false, when the storm is over.
  bool Pause(absl::Duration time);
  void Note(const Stranger& stranger);

  const StormTarget target_;
  const TlsContext tls_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> connections_{0};
  std::atomic<int64_t> killed_{0};
  mutable std::mutex mutex_;
  std::condition_variable over_;
  std::map<std::string, int64_t> begun_;
  std::map<int, int64_t> ended_;
  std::vector<std::thread> threads_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_STORM_H_
