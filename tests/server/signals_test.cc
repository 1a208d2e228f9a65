#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/harness.h"
#include "tests/support/program.h"
#include "tests/support/temp_dir.h"

// The real binary where nobody reads what it says, and signals that are not meant to end it.
namespace lossd::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A pipe that nobody reads and that is full.
class FullPipe {
 public:
  FullPipe() {
    EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string page(4096, 'x');
    while (write(ends_[1], page.data(), page.size()) > 0) continue;
    fcntl(ends_[1], F_SETFL, 0);
  }
  ~FullPipe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  int get() const { return ends_[1]; }

 private:
  int ends_[2];
};

// lossd, saying what it says to these descriptors.
class StalledServer {
 public:
  StalledServer(std::vector<std::string> flags, int out, int err) {
    flags.insert(flags.begin(), LOSSD_BINARY);
    std::vector<char*> pointers;
    for (const std::string& flag : flags) pointers.push_back(const_cast<char*>(flag.c_str()));
    pointers.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  ~StalledServer() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  StalledServer(const StalledServer&) = delete;
  StalledServer& operator=(const StalledServer&) = delete;

  // Whether its first thread is in a write(2).
  bool Writes() const {
    std::ifstream file(absl::StrCat("/proc/", pid_, "/syscall"));
    int64_t call = -1;
    return static_cast<bool>(file >> call) && call == SYS_write;
  }

  // Its end within `limit` of the signal: exit code, or 128 + signal; nullopt: it did not end.
  std::optional<int> EndedBy(int signal, std::chrono::milliseconds limit) {
    kill(pid_, signal);
    const int handle = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
    pollfd ended{handle, POLLIN, 0};
    const int polled = poll(&ended, 1, static_cast<int>(limit.count()));
    close(handle);
    if (polled != 1) return std::nullopt;
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

class WhoeverStalls : public ::testing::TestWithParam<const char*> {
 protected:
  int out() const { return std::string(GetParam()) == "Errors" ? sink_ : full_out_.get(); }
  int err() const { return std::string(GetParam()) == "Output" ? sink_ : full_err_.get(); }
  ~WhoeverStalls() override { close(sink_); }

  const FullPipe full_out_;
  const FullPipe full_err_;
  const int sink_ = open("/dev/null", O_WRONLY | O_CLOEXEC);
  const TempDir scratch_;
};
INSTANTIATE_TEST_SUITE_P(All, WhoeverStalls, ::testing::Values("Output", "Errors", "Both"),
                         [](const auto& info) { return std::string(info.param); });

// It promises --drain-timeout and two seconds.
TEST_P(WhoeverStalls, ItServesAndEndsInTime) {
  const std::string address = "unix:" + scratch_.Path("socket");
  StalledServer server({"--listen=" + address, "--drain-timeout=1s", "--log-level=debug"}, out(),
                       err());
  const auto channel = Connect(address);
  ASSERT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)));
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(StatusOf(channel, "/lossd.v1.LossService/GetServerInfo", "").ok());
  }
  const std::optional<int> end = server.EndedBy(SIGTERM, std::chrono::seconds(3));
  ASSERT_TRUE(end.has_value()) << "it did not end";
  EXPECT_EQ(*end, 0);
}

TEST_P(WhoeverStalls, ItEndsInTimeWithCallsInFlight) {
  const std::string address = "unix:" + scratch_.Path("socket");
  StalledServer server({"--listen=" + address, "--drain-timeout=500ms"}, out(), err());
  const auto channel = Connect(address);
  ASSERT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)));
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stub = v1::LossService::NewStub(channel);
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  const std::optional<int> end = server.EndedBy(SIGTERM, std::chrono::milliseconds(2500));
  ASSERT_TRUE(end.has_value()) << "it did not end";
  EXPECT_EQ(*end, 0);
  EXPECT_FALSE(stream->Finish().ok());
}

// What cannot serve, or only prints, has nothing to drain.
TEST(Stalled, ItEndsBeforeItServes) {
  const FullPipe pipe;
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--help"}, {"--frobnicate"}, {"--listen=unix:/nowhere/socket"}}) {
    StalledServer program(flags, pipe.get(), pipe.get());
    WaitUntil([&] { return program.Writes(); });
    const std::optional<int> end = program.EndedBy(SIGTERM, std::chrono::seconds(3));
    ASSERT_TRUE(end.has_value()) << flags[0];
    EXPECT_EQ(*end, 128 + SIGTERM) << flags[0];
  }
}

// ---------------------------------------------------------------------------- other signals

std::unique_ptr<Program> Lossd(std::vector<std::string> flags, std::string* address) {
  flags.insert(flags.begin(), {LOSSD_BINARY, "--listen=127.0.0.1:0"});
  auto program = std::make_unique<Program>(flags);
  const std::string line = program->ReadLine();
  *address = line.substr(line.rfind(' ') + 1);
  return program;
}

TEST(OtherSignals, DoNotEndIt) {
  std::string address;
  const auto program = Lossd({}, &address);
  for (const int signal :
       {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT,
        SIGXFSZ, SIGCHLD, SIGWINCH, SIGURG, SIGCONT, SIGRTMIN, SIGRTMAX}) {
    program->Signal(signal);
    EXPECT_TRUE(StatusOf(Connect(address), "/lossd.v1.LossService/GetServerInfo", "").ok())
        << signal;
  }
  program->Signal(SIGTERM);
  EXPECT_EQ(program->Wait(), 0);
}

// The file has not changed, so nothing else would read it.
TEST(OtherSignals, HangupReadsTheFilesAtOnce) {
  const TempDir scratch;
  const std::string tokens = scratch.Write("tokens", "one\n");
  std::string address;
  const auto program = Lossd({"--auth-token-file=" + tokens}, &address);
  program->Signal(SIGHUP);
  program->Signal(SIGTERM);  // is taken after it: a lower signal is delivered first
  EXPECT_EQ(program->Wait(), 0);
  EXPECT_THAT(program->err(),
              AllOf(HasSubstr("info reload signal=SIGHUP\n"), HasSubstr("info reload code=OK")));
}

}  // namespace
}  // namespace lossd::testing
