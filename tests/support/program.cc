#include "tests/support/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace lossd {

Program::Program(const std::vector<std::string>& argv) {
  std::vector<char*> pointers;
  pointers.reserve(argv.size() + 1);
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "no pipes";
    return;
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  out_pipe_ = out[0];
  err_pipe_ = err[0];
}

Program::~Program() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (out_pipe_ >= 0) close(out_pipe_);
  if (err_pipe_ >= 0) close(err_pipe_);
}

bool Program::ReadSome(int timeout_ms) {
  pollfd pipes[] = {{out_pipe_, POLLIN, 0}, {err_pipe_, POLLIN, 0}};
  if (out_pipe_ < 0 && err_pipe_ < 0) return false;
  if (poll(pipes, 2, timeout_ms) <= 0) return false;
  for (int i = 0; i < 2; ++i) {
    if (pipes[i].revents == 0) continue;
    char buffer[4096];
    const ssize_t count = read(pipes[i].fd, buffer, sizeof(buffer));
    if (count > 0) {
      (i == 0 ? out_ : err_).append(buffer, count);
    } else {
      close(pipes[i].fd);
      (i == 0 ? out_pipe_ : err_pipe_) = -1;
    }
  }
  return true;
}

std::string Program::ReadLine() {
  while (out_.find('\n') == std::string::npos) {
    if (ReadSome(30000)) continue;
    ADD_FAILURE() << "no line on standard output; standard error: " << err_;
    return "";
  }
  const size_t end = out_.find('\n');
  const std::string line = out_.substr(0, end);
  out_.erase(0, end + 1);
  return line;
}

void Program::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

int Program::Wait() {
  while (ReadSome(60000)) continue;
  if (out_pipe_ >= 0 || err_pipe_ >= 0) {
    ADD_FAILURE() << "a program did not end; standard error: " << err_;
    Signal(SIGKILL);
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Outcome RunLossctl(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {LOSSCTL_BINARY};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  Program program(argv);
  const int exit_code = program.Wait();
  return {exit_code, program.out(), program.err()};
}

Service::Service(const std::vector<std::string>& flags)
    : server_({"127.0.0.1:0", absl::StrCat("unix:", scratch_.Path("socket"))}, flags) {}

int Service::Stop() {
  server_.process().Signal(SIGTERM);
  return server_.process().Wait();
}

}  // namespace lossd
