#ifndef LOSSD_TESTS_FAULTS_SENTINEL_H_
#define LOSSD_TESTS_FAULTS_SENTINEL_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "lossd/client.h"
#include "tests/faults/proc.h"
#include "tests/server/harness.h"
#include "tests/support/process.h"

namespace lossd {

// A request whose answer is known to the bit, by the core in this process.
class KnownCall {
 public:
  KnownCall(int64_t rows, int64_t classes) : problem_(rows, classes) {}

  // Calls and compares; kDataLoss where a bit differs.
  absl::Status Try(Client& client, TransferMode mode,
                   absl::Duration timeout = absl::Seconds(60)) const;

  const testing::Problem& problem() const { return problem_; }

 private:
  testing::Problem problem_;
};

// Watches a server while something is done to it. A victim, who has nothing to do with it, goes on
// calling, in one message and in streams, and must get the right answer to
// the bit every time. At the end the server lives, lets a new connection in and answers it, and
// holds no more descriptors and memory than before.
class Sentinel {
 public:
  // `options`: of its clients; each call is tried once unless they say otherwise.
  explicit Sentinel(ServerProcess& server,
                    const ClientOptions& options = {.retry = {.max_attempts = 1}});
  ~Sentinel();
  Sentinel(const Sentinel&) = delete;
  Sentinel& operator=(const Sentinel&) = delete;

  // For the rows in which the victim may be hit: how many of its calls may fail. No answer may be
  // wrong.
  void Allow(int failures) { allowed_ = failures; }

  // For the rows after which memory does not return: how much may be missing.
  void AllowGrown(int64_t bytes) { most_grown_ = bytes; }

  // Stops the victim and expects all of the above; memory and descriptors have that long to return.
  void Check(absl::Duration settle = absl::Seconds(20));

  // What the server holds now, beyond what it held before. Of memory always 0 in a server with
  // sanitizers, which keep what was freed.
  int64_t grown_bytes() const;
  int64_t grown_descriptors() const { return StateOf(pid_).descriptors - base_.descriptors; }
  const ProcessState& base() const { return base_; }

  // Returns after the victim's next `count` calls.
  void AwaitCalls(int count);

  absl::Duration slowest() const;

  // Calls of the victim that failed so far.
  int failed() const;

 private:
  Client ConnectOnce() const;
  void Victim();
  void CallOnce(int number);

  // Which descriptors the server holds now and did not hold before.
  std::string NewDescriptors() const;

  ServerProcess& server_;
  const pid_t pid_;
  const bool sanitized_;
  const ClientOptions options_;
  const KnownCall small_{16, 40};
  const KnownCall large_{600, 200};
  Client client_;
  ProcessState base_;
  std::vector<std::string> base_descriptors_;
  int allowed_ = 0;
  int64_t most_grown_ = int64_t{64} << 20;  // the arenas of malloc, and of gRPC
  std::atomic<bool> stop_{false};
  std::atomic<int> calls_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> failures_;
  int wrong_ = 0;
  absl::Duration slowest_ = absl::ZeroDuration();
  std::thread victim_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_SENTINEL_H_
