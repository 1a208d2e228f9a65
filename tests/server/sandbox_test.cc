#include "server/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

// What `body` returns, 0..255, in a process of its own: what is given up is given up for good.
int InAChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int ErrorOf(long result) { return result == -1 ? errno : 0; }

// A child that came to be ends at once.
int ErrorOfFork(long result) {
  if (result == 0) _exit(0);
  return ErrorOf(result);
}

int ErrorOfMap(void* memory) { return memory == MAP_FAILED ? errno : 0; }

struct Forbidden {
  const char* name;
  std::function<int()> error;  // of trying it
  int refused = EPERM;
};

const Forbidden kForbidden[] = {
    {"Execve", [] { return ErrorOf(syscall(SYS_execve, "/no/such", nullptr, nullptr)); }},
    {"Execveat", [] { return ErrorOf(syscall(SYS_execveat, -1, "/no", nullptr, nullptr, 0)); }},
    {"CloneOfAProcess", [] { return ErrorOfFork(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }},
    {"Clone3", [] { return ErrorOf(syscall(SYS_clone3, nullptr, 0)); }, ENOSYS},
    {"Kill", [] { return ErrorOf(kill(getpid(), 0)); }},
    {"Ptrace", [] { return ErrorOf(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }},
    {"ReadOfMemory",
     [] { return ErrorOf(syscall(SYS_process_vm_readv, getpid(), nullptr, 0, nullptr, 0, 0)); }},
    {"Socket", [] { return ErrorOf(socket(AF_INET, SOCK_STREAM, 0)); }},
    {"Connect", [] { return ErrorOf(connect(-1, nullptr, 0)); }},
    {"Listen", [] { return ErrorOf(listen(-1, 1)); }},
    {"IoUring", [] { return ErrorOf(syscall(SYS_io_uring_setup, 0, nullptr)); }},
    {"FileInMemory", [] { return ErrorOf(memfd_create("x", 0)); }},
    {"ExecutableMemory",
     [] {
       return ErrorOfMap(
           mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
     }},
    {"ExecutableLater",
     [] {
       void* const memory =
           mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       return ErrorOf(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
     }},
    {"Identity", [] { return ErrorOf(syscall(SYS_setuid, getuid())); }},
    {"NameSpace", [] { return ErrorOf(unshare(0)); }},
    {"Rights", [] { return ErrorOf(fchmod(-1, 0600)); }},
    {"Mount", [] { return ErrorOf(syscall(SYS_umount2, "/no/such", ~0)); }},
};

class SystemCalls : public ::testing::TestWithParam<Forbidden> {};

// The same attempt ends otherwise before: so it is the filter that is seen, in threads older and
// younger than it.
TEST_P(SystemCalls, IsRefusedInEveryThread) {
  const Forbidden& row = GetParam();
  const int before = InAChild(row.error);
  const int after = InAChild([&] {
    std::promise<void> filtered;
    std::promise<int> error;
    std::thread older([&] {
      filtered.get_future().wait();
      error.set_value(row.error());
    });
    Sandbox sandbox;
    sandbox.GiveUpSystemCalls();
    if (sandbox.in_force() != "syscalls") return 255;
    filtered.set_value();
    older.join();
    int younger = 0;
    std::thread([&] { younger = row.error(); }).join();
    return error.get_future().get() == row.refused && younger == row.refused ? row.refused : 0;
  });
  if (after == 255) GTEST_SKIP() << "no filter here";
  if (before == row.refused) GTEST_SKIP() << "refused here to everybody";
  EXPECT_EQ(after, row.refused);
}
INSTANTIATE_TEST_SUITE_P(All, SystemCalls, ::testing::ValuesIn(kForbidden),
                         [](const auto& info) { return info.param.name; });

TEST(Sandbox, WhatAServerDoesGoesOn) {
  const TempDir scratch;
  const std::string file = scratch.Write("file", "text");
  const int failed = InAChild([&] {
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un any{AF_UNIX, ""};
    bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any.sun_family);
    listen(listener, 1);
    sockaddr_un name{};
    socklen_t size = sizeof name;
    getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size);
    const int client = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(client, reinterpret_cast<const sockaddr*>(&name), size);
    Sandbox sandbox;
    sandbox.GiveUpFiles({});
    sandbox.GiveUpSystemCalls();
    int step = 1;
    if (accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) < 0) return step;
    ++step;
    if (open(file.c_str(), O_RDONLY) < 0) return step;
    ++step;
    if (eventfd(0, 0) < 0) return step;
    ++step;
    if (ErrorOfMap(mmap(nullptr, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0)) != 0) {
      return step;
    }
    ++step;
    if (syscall(SYS_tgkill, getpid(), gettid(), 0) != 0) return step;  // abort() needs it
    return 0;
  });
  EXPECT_EQ(failed, 0) << "the step of that number";
}

TEST(Sandbox, FilesBeyondTheFoldersAreOutOfReach) {
  const TempDir sockets;
  const TempDir logs;
  const TempDir other;
  const std::string file = other.Write("file", "text");
  const auto make = [](const std::string& path) {
    return ErrorOf(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600));
  };
  const auto make_socket = [](const std::string& path) {
    sockaddr_un name{AF_UNIX, ""};
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    return ErrorOf(bind(socket(AF_UNIX, SOCK_STREAM, 0), reinterpret_cast<const sockaddr*>(&name),
                        sizeof name));
  };
  const struct {
    const char* name;
    std::function<int()> error;
    int wanted;
  } rows[] = {
      {"a file is made", [&] { return make(other.Path("new")); }, EACCES},
      {"a file is written", [&] { return make(file); }, EACCES},
      {"a file is removed", [&] { return ErrorOf(unlink(file.c_str())); }, EACCES},
      {"a folder is made", [&] { return ErrorOf(mkdir(other.Path("d").c_str(), 0700)); }, EACCES},
      {"a socket is made", [&] { return make_socket(other.Path("s")); }, EACCES},
      {"a program is started", [] { return ErrorOf(execl("/bin/true", "true", nullptr)); }, EACCES},
      {"a file is read", [&] { return ErrorOf(open(file.c_str(), O_RDONLY)); }, 0},
      {"a log is made", [&] { return make(logs.Path("log")); }, 0},
      {"a log is removed",
       [&] { return make(logs.Path("log")) + ErrorOf(unlink(logs.Path("log").c_str())); }, EACCES},
      {"a file is made among sockets", [&] { return make(sockets.Path("new")); }, EACCES},
      {"a socket is made in its folder", [&] { return make_socket(sockets.Path("s")); }, 0},
      {"and removed", [&] { return ErrorOf(unlink(sockets.Path("s").c_str())); }, 0},
  };
  for (const auto& row : rows) {
    const int error = InAChild([&] {
      Sandbox sandbox;
      sandbox.GiveUpFiles({.sockets = {sockets.Path(".")}, .logs = {logs.Path("."), "/no/such"}});
      return sandbox.in_force() == "files" ? row.error() : 255;
    });
    if (error == 255) GTEST_SKIP() << "no Landlock here";
    EXPECT_EQ(error, row.wanted) << row.name;
  }
}

// Makes a kernel of one without a system call.
void TakeAway(int system_call) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), system_call, 0);
  seccomp_load(filter);
  seccomp_release(filter);
}

TEST(Sandbox, WhatIsMissingIsSaid) {
  EXPECT_EQ(InAChild([] {
              TakeAway(SCMP_SYS(landlock_create_ruleset));
              Sandbox sandbox;
              sandbox.GiveUpFiles({});
              return sandbox.in_force() == "none (the kernel has no Landlock)" ? 0 : 1;
            }),
            0);
  EXPECT_EQ(InAChild([] {
              TakeAway(SCMP_SYS(seccomp));
              Sandbox sandbox;
              sandbox.GiveUpSystemCalls();
              return sandbox.in_force().rfind("none (", 0) == 0 ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace lossd
