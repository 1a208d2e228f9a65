#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>
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
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/exec/simd.h"
#include "core/system/usable_threads.h"
#include "server/command_line.h"
#include "server/config/settings.h"
#include "server/log/audit_log.h"
#include "server/log/grpc_log.h"
#include "server/log/line_writer.h"
#include "server/log/log.h"
#include "server/memory/heap.h"
#include "server/sandbox.h"
#include "server/server.h"
#include "server/thread_room.h"

namespace {

constexpr int kExitCannotServe = 1;
constexpr int kExitUsage = 2;

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

// Those that end the server, and those that are waited for.
const sigset_t kEnds = SetOf({SIGTERM, SIGINT});
const sigset_t kWaitedFor = SetOf({SIGTERM, SIGINT, SIGHUP});

// By default each of these ends the process: the reader of the output has gone away (SIGPIPE), a
// file has grown to its limit (SIGXFSZ), and signals that no one has a reason
// to send. SIGQUIT and the signals of faults keep theirs, a core.
void IgnoreStraySignals() {
  for (const int stray : {SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO,
                          SIGPWR, SIGSTKFLT}) {
    signal(stray, SIG_IGN);
  }
  for (int stray = SIGRTMIN; stray <= SIGRTMAX; ++stray) signal(stray, SIG_IGN);
}

// Prints, for a process that is about to end. If the output is not read, a signal still ends it.
void Say(std::FILE* out, const std::string& words) {
  pthread_sigmask(SIG_UNBLOCK, &kWaitedFor, nullptr);
  std::fputs(words.c_str(), out);
  std::fflush(out);
}

int Complain(int code, const std::string& what) {
  Say(stderr, "lossd: " + what + "\n");
  return code;
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

std::string FolderOf(const absl::string_view path) {
  const std::filesystem::path folder = std::filesystem::path(std::string(path)).parent_path();
  return folder.empty() ? "." : folder.string();
}

// Folders of the Unix sockets to listen on, whose files the server removes when it ends, and of the
// audit log, which it opens again.
lossd::WrittenFolders FoldersOf(const lossd::CommandLine& line) {
  lossd::WrittenFolders folders;
  const lossd::ServerOptions& options = line.server;
  std::vector<std::string> addresses = options.listen;
  addresses.insert(addresses.end(),
                   {options.health_listen, options.metrics_listen, options.shared_memory});
  for (const absl::string_view address : addresses) {
    absl::string_view path = address;
    if (absl::ConsumePrefix(&path, "unix:")) folders.sockets.push_back(FolderOf(path));
  }
  if (!line.audit_log.empty() && line.audit_log != "-") {
    folders.logs.push_back(FolderOf(line.audit_log));
  }
  return folders;
}

// Where it serves and, once, so that a log says what was in force, how. If nobody reads it, the
// server goes on all the same.
void Introduce(const lossd::Server& server, const lossd::CommandLine& line,
               const lossd::Sandbox& sandbox) {
  lossd::LineWriter out(STDOUT_FILENO, "lossd: %v", [](int64_t) { return ""; });
  const auto say = [&](const std::string& text) {
    out.Write(absl::Now(), lossd::LogLevel::kInfo, text);
  };
  for (const std::string& address : server.addresses()) say("listening on " + address);
  if (!server.health_address().empty()) say("health checks on " + server.health_address());
  if (!server.metrics_address().empty()) say("metrics on " + server.metrics_address());
  if (!line.server.shared_memory.empty()) say("shared memory on " + line.server.shared_memory);
  lossd::Settings settings = server.settings();
  settings.emplace_back("sandbox", sandbox.in_force());
  settings.emplace_back("drain-timeout", absl::FormatDuration(line.drain_timeout));
  settings.emplace_back("audit-log", line.audit_log.empty() ? "none" : line.audit_log);
  say("settings " + lossd::OneLine(settings));
}

// Serves until a signal says to end, which it returns. `audit` may be null.
int WaitForTheEnd(lossd::Server& server, lossd::Log& log, lossd::AuditLog* audit) {
  while (true) {
    const int signal = WaitForSignal(kWaitedFor);
    if (signal != SIGHUP) return signal;
    log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kReload, {{"signal", "SIGHUP"}});
    server.Reload();
    if (audit == nullptr) continue;
    if (const absl::Status reopened = audit->Reopen(); !reopened.ok()) {
      const std::string why(reopened.message());
      log.Write(lossd::LogLevel::kWarning, lossd::LogEvent::kReload, {{"message", why}});
    }
  }
}

int Serve(const lossd::CommandLine& line) {
  // Before the log, which has a thread of its own.
  const int computing = line.server.threads > 0 ? line.server.threads : lossd::UsableThreads();
  if (const absl::Status room = lossd::CheckThreadRoom(computing + lossd::kThreadsBesideComputing);
      !room.ok()) {
    return Complain(kExitCannotServe, std::string(room.message()));
  }
  lossd::Sandbox sandbox;
  if (line.sandbox) sandbox.GiveUpFiles(FoldersOf(line));
  std::unique_ptr<lossd::AuditLog> audit;
  if (!line.audit_log.empty()) {
    absl::StatusOr<std::unique_ptr<lossd::AuditLog>> opened = lossd::AuditLog::Open(line.audit_log);
    if (!opened.ok()) return Complain(kExitUsage, std::string(opened.status().message()));
    audit = *std::move(opened);
  }
  lossd::Log log(line.log);
  const lossd::GrpcLogRoute grpc_log(&log);
  lossd::ServerOptions options = line.server;
  options.log = &log;
  options.audit = audit.get();
  const absl::StatusOr<std::unique_ptr<lossd::Server>> server = lossd::Server::Start(options);
  if (!server.ok()) {
    const bool usage = absl::IsInvalidArgument(server.status());
    return Complain(usage ? kExitUsage : kExitCannotServe, std::string(server.status().message()));
  }
  if (line.sandbox) sandbox.GiveUpSystemCalls();
  Introduce(**server, line, sandbox);
  log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kStart, {{"version", LOSSD_VERSION}});

  const int signal = WaitForTheEnd(**server, log, audit.get());
  log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kDrain,
            {{"signal", absl::StrCat("SIG", sigabbrev_np(signal))}});
  // A second signal ends the process at once, as the shell would report it.
  std::thread([] { std::_Exit(128 + WaitForSignal(kEnds)); }).detach();
  (*server)->Drain(line.drain_timeout);
  log.Write(lossd::LogLevel::kInfo, lossd::LogEvent::kExit, {{"code", 0}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  lossd::KeepFreedMemory();
  LookForNoDeadlocks();
  // Blocked before the first thread starts, so that no thread but those that wait gets them.
  pthread_sigmask(SIG_BLOCK, &kWaitedFor, nullptr);
  IgnoreStraySignals();
  const absl::StatusOr<lossd::CommandLine> line = lossd::ParseCommandLine(argc, argv, Variables());
  if (!line.ok()) return Complain(kExitUsage, std::string(line.status().message()));
  if (!line->print.empty()) {
    Say(stdout, line->print);
    return 0;
  }
  if (const absl::Status forced = ApplyForcedTarget(); !forced.ok()) {
    return Complain(kExitUsage, "LOSSD_FORCE_TARGET " + std::string(forced.message()));
  }
  return Serve(*line);
}
