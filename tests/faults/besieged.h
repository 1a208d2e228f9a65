#ifndef LOSSD_TESTS_FAULTS_BESIEGED_H_
#define LOSSD_TESTS_FAULTS_BESIEGED_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "lossd/client.h"
#include "tests/faults/http2.h"
#include "tests/faults/line.h"
#include "tests/faults/proc.h"
#include "tests/faults/sentinel.h"
#include "tests/support/temp_dir.h"

namespace lossd {

inline constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
inline constexpr char kStream[] = "/lossd.v1.LossService/ComputeStream";
inline constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
inline constexpr int64_t kMiB = 1 << 20;

// The header of a call, the frame that gives it up, and what a connection begins with.
std::string Call(uint32_t stream, const char* path, const http2::Fields& more = {});
std::string GivenUp(uint32_t stream);
std::string Greeting();

enum class Door { kPlain, kTls, kUnix };
const char* NameOf(Door door);

// A server, and a victim who goes on calling it from 127.0.0.1, each call tried once. At the end
// expects that no call of the victim failed and that the server serves a new client.
class Besieged {
 public:
  explicit Besieged(Door door, std::vector<std::string> flags = {});
  ~Besieged();

  // A connection of an attacker, from 127.0.0.`peer` where it is TCP.
  std::unique_ptr<Line> Attack(int peer = 2) const;
  std::unique_ptr<Line> Plain(int peer) const;

  absl::Status NewcomerIsServed() const;

  void AwaitCalls(int count);

  int64_t grown_bytes() const { return StateOf(pid()).rss_bytes - base_.rss_bytes; }
  int failed() const { return failed_; }

 private:
  pid_t pid() const { return server_->process().pid(); }

  void Victim();

  const Door door_;
  const TempDir scratch_;
  const TlsContext tls_ = ClientTls();
  const KnownCall call_{16, 40};
  mutable std::optional<ServerProcess> server_;
  ClientOptions options_;
  ProcessState base_;
  std::atomic<bool> stop_{false};
  std::atomic<int> calls_{0};
  std::atomic<int> failed_{0};
  std::string failure_;
  std::thread victim_;
};

// Bytes that went until the server closed the connection; `most` where it did not.
int64_t SendUntilClosed(Line& line, const std::string& piece, int64_t most);

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_BESIEGED_H_
