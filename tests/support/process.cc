#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

extern char** environ;

namespace lossd {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const std::string& error_file) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Die("pipe: " + std::string(std::strerror(errno)));
  output_ = ends[0];
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  if (!error_file.empty()) {
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, error_file.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  const int error = posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) Die("cannot start " + command[0] + ": " + std::strerror(error));
}

Process::~Process() {
  if (!exit_.has_value()) {
    Signal(SIGKILL);
    Wait();
  }
  close(output_);
}

std::optional<std::string> Process::ReadLine(int seconds) {
  while (true) {
    if (const size_t end = pending_.find('\n'); end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    pollfd readable{output_, POLLIN, 0};
    if (poll(&readable, 1, seconds * 1000) <= 0) return std::nullopt;
    char buffer[4096];
    const ssize_t got = read(output_, buffer, sizeof buffer);
    if (got <= 0) return std::nullopt;
    pending_.append(buffer, got);
  }
}

void Process::Signal(int number) {
  if (!exit_.has_value()) kill(pid_, number);
}

void Process::Freeze() {
  Signal(SIGSTOP);
  int status = 0;
  while (waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
  }
}

int Process::Wait() {
  if (exit_.has_value()) return *exit_;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return *exit_;
}

ServerProcess::ServerProcess(const std::vector<std::string>& listen,
                             const std::vector<std::string>& flags, const std::string& error_file) {
  const char* binary = std::getenv("LOSSD_BINARY");
  std::vector<std::string> command = {binary ? binary : LOSSD_BUILT_BINARY};
  for (const std::string& address : listen) command.push_back("--listen=" + address);
  command.insert(command.end(), flags.begin(), flags.end());
  process_ = std::make_unique<Process>(command, error_file);
  constexpr std::string_view kListening = "lossd: listening on ";
  while (addresses_.size() < listen.size()) {
    const std::optional<std::string> line = process_->ReadLine();
    if (!line.has_value()) Die("the server did not say where it listens");
    if (line->rfind(kListening, 0) == 0) addresses_.push_back(line->substr(kListening.size()));
  }
}

}  // namespace lossd
