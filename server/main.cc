#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/exec/executor.h"
#include "core/exec/simd.h"
#include "server/command_line.h"
#include "server/log/grpc_log.h"
#include "server/log/log.h"
#include "server/memory/heap.h"
#include "server/sandbox.h"
#include "server/server.h"
#include "server/settings.h"
#include "server/thread_room.h"

namespace {

constexpr int kExitCannotServe = 1;
constexpr int kExitUsage = 2;

int Complain(int code, const std::string& what) {
  std::fprintf(stderr, "lossd: %s\n", what.c_str());
  return code;
}

// Blocked before the first thread starts, so that no thread but those that wait gets them.
sigset_t BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // Whoever reads the output may go away.
  signal(SIGPIPE, SIG_IGN);
  return set;
}

// gRPC's locks are Abseil's, which Debian builds to look for orders of locking that might end in a
// deadlock: each lock and unlock is written down behind one more lock for the whole process, and
// what is found ends it. That is for tests.
void LookForNoDeadlocks() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

std::vector<std::string> Variables() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

int WaitForSignal(const sigset_t& set) {
  int signal = 0;
  sigwait(&set, &signal);
  return signal;
}

absl::Status ApplyForcedTarget() {
  const char* const name = std::getenv("LOSSD_FORCE_TARGET");
  if (name == nullptr) return absl::OkStatus();
  return lossd::ForceSimdTarget(name);
}

// Folders of the Unix sockets to listen on; the server removes their files when it ends.
lossd::WrittenFolders FoldersOf(const lossd::ServerOptions& options) {
  lossd::WrittenFolders folders;
  std::vector<std::string> addresses = options.listen;
  addresses.insert(addresses.end(), {options.health_listen, options.metrics_listen});
  for (const absl::string_view address : addresses) {
    absl::string_view path = address;
    if (!absl::ConsumePrefix(&path, "unix:")) continue;
    const std::filesystem::path folder = std::filesystem::path(std::string(path)).parent_path();
    folders.sockets.push_back(folder.empty() ? "." : folder.string());
  }
  return folders;
}

// Once, so that a log says what was in force.
void TellSettings(const lossd::Server& server, const lossd::CommandLine& line,
                  const lossd::Sandbox& sandbox) {
  lossd::Settings settings = server.settings();
  settings.emplace_back("sandbox", sandbox.in_force());
  settings.emplace_back("drain-timeout", absl::FormatDuration(line.drain_timeout));
  std::printf("lossd: settings %s\n", lossd::OneLine(settings).c_str());
}

int Serve(const lossd::CommandLine& line, const sigset_t& signals) {
  // Before the log, which has a thread of its own.
  const int computing = line.server.threads > 0 ? line.server.threads : lossd::UsableThreads();
  if (const absl::Status room = lossd::CheckThreadRoom(computing + lossd::kThreadsBesideComputing);
      !room.ok()) {
    return Complain(kExitCannotServe, std::string(room.message()));
  }
  lossd::Sandbox sandbox;
  if (line.sandbox) sandbox.GiveUpFiles(FoldersOf(line.server));
  lossd::Log log(line.log);
  const lossd::GrpcLogRoute grpc_log(&log);
  lossd::ServerOptions options = line.server;
  options.log = &log;
  const absl::StatusOr<std::unique_ptr<lossd::Server>> server = lossd::Server::Start(options);
  if (!server.ok()) {
    const bool usage = absl::IsInvalidArgument(server.status());
    return Complain(usage ? kExitUsage : kExitCannotServe, std::string(server.status().message()));
  }
  if (line.sandbox) sandbox.GiveUpSystemCalls();
  for (const std::string& address : (*server)->addresses()) {
    std::printf("lossd: listening on %s\n", address.c_str());
  }
  if (const std::string& health = (*server)->health_address(); !health.empty()) {
    std::printf("lossd: health checks on %s\n", health.c_str());
  }
  if (const std::string& metrics = (*server)->metrics_address(); !metrics.empty()) {
    std::printf("lossd: metrics on %s\n", metrics.c_str());
  }
  TellSettings(**server, line, sandbox);
  std::fflush(stdout);
  log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kStart, {{"version", LOSSD_VERSION}});

  const int signal = WaitForSignal(signals);
  log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kDrain,
            {{"signal", absl::StrCat("SIG", sigabbrev_np(signal))}});
  // A second signal ends the process at once, as the shell would report it.
  std::thread([signals] { std::_Exit(128 + WaitForSignal(signals)); }).detach();
  (*server)->Drain(line.drain_timeout);
  log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kExit, {{"code", 0}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  lossd::KeepFreedMemory();
  LookForNoDeadlocks();
  const sigset_t signals = BlockSignals();
  const absl::StatusOr<lossd::CommandLine> line = lossd::ParseCommandLine(argc, argv, Variables());
  if (!line.ok()) return Complain(kExitUsage, std::string(line.status().message()));
  if (!line->print.empty()) {
    std::fputs(line->print.c_str(), stdout);
    return 0;
  }
  if (const absl::Status forced = ApplyForcedTarget(); !forced.ok()) {
    return Complain(kExitUsage, "LOSSD_FORCE_TARGET " + std::string(forced.message()));
  }
  return Serve(*line, signals);
}
