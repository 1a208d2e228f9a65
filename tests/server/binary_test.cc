#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/server/harness.h"
#include "tests/support/certificates.h"
#include "tests/support/program.h"
#include "tests/support/temp_dir.h"

// The real binary: flags, what it prints, signals, exit codes.
namespace lossd::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

std::unique_ptr<Program> Lossd(std::vector<std::string> flags) {
  flags.insert(flags.begin(), LOSSD_BINARY);
  return std::make_unique<Program>(flags);
}

std::string AddressOf(Program& program) {
  const std::string line = program.ReadLine();
  const std::string start = "lossd: listening on ";
  EXPECT_THAT(line, StartsWith(start));
  return line.size() < start.size() ? "" : line.substr(start.size());
}

void ExpectRefusal(std::vector<std::string> flags, int exit_code, const std::string& words) {
  const auto program = Lossd(std::move(flags));
  EXPECT_EQ(program->Wait(), exit_code);
  EXPECT_THAT(program->out(), IsEmpty());
  EXPECT_THAT(program->err(), StartsWith("lossd: "));
  EXPECT_THAT(program->err(), HasSubstr(words));
  EXPECT_EQ(std::count(program->err().begin(), program->err().end(), '\n'), 1) << program->err();
}

TEST(Binary, BadFlagsExit2NamingTheFlag) {
  ExpectRefusal({"--frobnicate"}, 2, "--frobnicate");
  ExpectRefusal({"--threads=many"}, 2, "--threads");
  ExpectRefusal({"--listen=nowhere"}, 2, "--listen");
  ExpectRefusal({"--max-unary-bytes=1"}, 2, "--max-unary-bytes");
}

// What would serve in the clear, or not as it was told to.
TEST(Binary, UnsafeOrHalfSecurityExits2AtOnce) {
  const TempDir scratch;
  const Identity one = Authority("ca").Sign(1);
  const Identity other = Authority("ca").Sign(2);
  const std::string certificate = "--tls-cert=" + scratch.Write("certificate", one.certificate);
  const std::string key = "--tls-key=" + scratch.Write("key", one.key);
  const std::string wrong_key = "--tls-key=" + scratch.Write("wrong_key", other.key);
  const std::string garbage = scratch.Write("garbage", "secret");
  const auto begin = std::chrono::steady_clock::now();
  ExpectRefusal({"--listen=0.0.0.0:0"}, 2, "--insecure-listen");
  ExpectRefusal({"--listen=0.0.0.0:0", "--auth-token-file=" + garbage}, 2, "which tokens need too");
  ExpectRefusal({certificate}, 2, "--tls-cert is given without --tls-key");
  ExpectRefusal({key}, 2, "--tls-key is given without --tls-cert");
  ExpectRefusal({certificate, wrong_key}, 2, "wrong_key: the key does not belong to");
  ExpectRefusal({certificate, key, "--tls-client-ca=" + garbage}, 2, "garbage: has no certificate");
  ExpectRefusal({certificate, key, "--tls-client-ca=/nowhere"}, 2, "/nowhere: No such file");
  ExpectRefusal({"--auth-token-file=/nowhere"}, 2, "--auth-token-file /nowhere: No such file");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 8 * std::chrono::seconds(2));
}

TEST(Binary, TellsTheSettingsInForceAndNoSecret) {
  const TempDir scratch;
  const auto program = Lossd({"--listen=127.0.0.1:0", "--max-streams=7", "--connection-age=0",
                              "--auth-token-file=" + scratch.Write("tokens", "hush-hush")});
  const std::string address = AddressOf(*program);
  const std::string line = program->ReadLine();
  EXPECT_THAT(line, StartsWith("lossd: settings listen=" + address + " "));
  for (const char* setting : {" encryption=none ", " max-streams=7 ", " connection-age=off ",
                              " reflection=off ", " drain-timeout=30s"}) {
    EXPECT_THAT(line, HasSubstr(setting));
  }
  EXPECT_THAT(line, ::testing::Not(HasSubstr("hush")));
}

// How many filters of system calls each thread of a process has.
std::set<std::string> FiltersOf(const std::string& process) {
  std::set<std::string> filters;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + process + "/task")) {
    std::ifstream status(thread.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("Seccomp_filters:")) filters.insert(line);
    }
  }
  return filters;
}

TEST(Binary, SandboxIsInForceInEveryThread) {
#ifdef LOSSD_SANITIZED
  GTEST_SKIP() << "not in a build with sanitizers";
#endif
  const auto program = Lossd({"--listen=127.0.0.1:0"});
  AddressOf(*program);
  const std::string line = program->ReadLine();
  if (line.find(" sandbox=files,syscalls") == std::string::npos) {
    GTEST_SKIP() << "this kernel cannot: " << line;
  }
  const std::set<std::string> filters = FiltersOf(std::to_string(program->pid()));
  EXPECT_EQ(filters.size(), 1);
  EXPECT_NE(filters, FiltersOf("self"));

  const auto open = Lossd({"--listen=127.0.0.1:0", "--sandbox=false"});
  AddressOf(*open);
  EXPECT_THAT(open->ReadLine(), HasSubstr(" sandbox=none"));
  EXPECT_EQ(FiltersOf(std::to_string(open->pid())), FiltersOf("self"));
}

TEST(Binary, HelpAndVersionExit0) {
  for (const char* flag : {"--help", "--version"}) {
    const auto program = Lossd({flag});
    EXPECT_EQ(program->Wait(), 0);
    EXPECT_THAT(program->out(), StartsWith("lossd"));
    EXPECT_THAT(program->err(), IsEmpty());
  }
}

TEST(Binary, TakenPortExits1) {
  const auto first = Lossd({"--listen=127.0.0.1:0"});
  const std::string address = AddressOf(*first);
  ExpectRefusal({"--listen=" + address}, 1, "cannot listen on " + address + ": Address already");
}

TEST(Binary, SocketFileOfAKilledServerIsReplacedThatOfALiveOneIsNot) {
  const TempDir scratch;
  const std::string listen = "--listen=unix:" + scratch.Path("socket");
  const auto first = Lossd({listen});
  EXPECT_EQ(AddressOf(*first), "unix:" + scratch.Path("socket"));
  ExpectRefusal({listen}, 1, "another server listens on it");
  first->Signal(SIGKILL);
  EXPECT_EQ(first->Wait(), 128 + SIGKILL);
  EXPECT_TRUE(std::filesystem::exists(scratch.Path("socket")));
  const auto second = Lossd({listen});
  const std::string address = AddressOf(*second);
  EXPECT_TRUE(StatusOf(Connect(address), "/lossd.v1.LossService/GetServerInfo", "").ok());
}

// ------------------------------------------------------------------------------------- signals

class Signals : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(All, Signals, ::testing::Values(SIGTERM, SIGINT));

TEST_P(Signals, IdleServerExits0) {
  const auto program = Lossd({"--listen=127.0.0.1:0"});
  AddressOf(*program);
  program->Signal(GetParam());
  EXPECT_EQ(program->Wait(), 0);
  EXPECT_THAT(program->out(), StartsWith("lossd: settings listen=127.0.0.1:"));
  EXPECT_THAT(program->err(), MatchesRegex(".*Z info start [^\n]*\n[^\n]*Z info drain [^\n]*\n"
                                           "[^\n]*Z info exit [^\n]*\n"));
}

// gRPC's own shutdown waits up to 10 s for a thread that helps large writes along, in four runs of
// five. The one test here that looks at a clock: nothing else shows it, and the outcomes, 10 ms and
// 10 s, are far from the limit.
TEST(Binary, ExitsPromptlyAfterLargeMessages) {
  const auto program = Lossd({"--listen=127.0.0.1:0"});
  const Problem problem(1024, 8000);
  {
    const auto stub = v1::LossService::NewStub(Connect(AddressOf(*program)));
    const v1::ComputeRequest request = problem.Request();
    for (int i = 0; i < 2; ++i) {
      grpc::ClientContext context;
      v1::ComputeResponse response;
      EXPECT_TRUE(stub->Compute(&context, request, &response).ok());
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  program->Signal(SIGTERM);
  EXPECT_EQ(program->Wait(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_P(Signals, FinishesWhatIsInFlight) {
  const auto program = Lossd({"--listen=127.0.0.1:0", "--drain-timeout=1000"});
  const auto channel = Connect(AddressOf(*program));
  RawCall watch(channel, "/grpc.health.v1.Health/Watch", "");
  EXPECT_EQ(watch.Read(), kServing);
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stub = v1::LossService::NewStub(channel);
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  program->Signal(GetParam());
  EXPECT_EQ(watch.Read(), kNotServing);
  EXPECT_TRUE(stream->Write(problem.Block(1, 3)));
  stream->WritesDone();
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.last.loss(), problem.result.loss);
  EXPECT_EQ(program->Wait(), 0);
}

// The times that are promised. The second fastest of five counts: a busy machine adds to some.
TEST_P(Signals, AreNoticedAtOnce) {
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::duration> not_ready;
  for (int i = 0; i < 5; ++i) {
    const auto program =
        Lossd({"--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0", "--drain-timeout=30"});
    const std::string address = AddressOf(*program);
    const std::string line = program->ReadLine();
    RawCall watch(Connect(address), "/grpc.health.v1.Health/Watch", "");
    RawCall probe(Connect(line.substr(line.rfind(' ') + 1)), "/grpc.health.v1.Health/Watch", "");
    EXPECT_EQ(watch.Read(), kServing);
    EXPECT_EQ(probe.Read(), kServing);
    const Problem problem(4, 8);
    grpc::ClientContext context;
    const auto stub = v1::LossService::NewStub(Connect(address));
    const auto stream = stub->ComputeStream(&context);
    BeginStream(problem, *stream);

    const auto begin = Clock::now();
    program->Signal(GetParam());
    EXPECT_EQ(watch.Read(), kNotServing);
    EXPECT_EQ(probe.Read(), kNotServing);
    not_ready.push_back(Clock::now() - begin);
    WaitUntil([&] {
      return StatusOf(Connect(address), "/lossd.v1.LossService/GetServerInfo", "").error_code() ==
             grpc::StatusCode::UNAVAILABLE;
    });
    EXPECT_TRUE(stream->Write(problem.Block(1, 3)));
    stream->WritesDone();
    EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
    EXPECT_EQ(program->Wait(), 0);
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(30));
  }
  std::sort(not_ready.begin(), not_ready.end());
  EXPECT_LT(not_ready[1], std::chrono::milliseconds(100));
  RecordProperty("not_ready_us",
                 static_cast<int>(
                     std::chrono::duration_cast<std::chrono::microseconds>(not_ready[1]).count()));
}

TEST_P(Signals, ASecondOneEndsItAtOnce) {
  const auto program = Lossd({"--listen=127.0.0.1:0", "--drain-timeout=1000"});
  const auto channel = Connect(AddressOf(*program));
  RawCall watch(channel, "/grpc.health.v1.Health/Watch", "");
  EXPECT_EQ(watch.Read(), kServing);
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stub = v1::LossService::NewStub(channel);
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  program->Signal(SIGTERM);
  EXPECT_EQ(watch.Read(), kNotServing);
  program->Signal(GetParam());
  EXPECT_EQ(program->Wait(), 128 + GetParam());
  EXPECT_EQ(ReadAll(problem, *stream).summaries, 0);
}

TEST(Binary, DrainTimeoutBreaksOff) {
  const auto program = Lossd({"--listen=127.0.0.1:0", "--drain-timeout=0"});
  const auto channel = Connect(AddressOf(*program));
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stub = v1::LossService::NewStub(channel);
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  program->Signal(SIGTERM);
  EXPECT_EQ(program->Wait(), 0);
  const StreamAnswer answer = ReadAll(problem, *stream);
  EXPECT_FALSE(answer.status.ok());
  EXPECT_EQ(answer.summaries, 0);
}

// --------------------------------------------------------------------------------- environment

// Of the programs that are started meanwhile.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(Binary, IsConfiguredByFileEnvironmentAndFlag) {
  const TempDir scratch;
  const std::string path =
      scratch.Write("lossd.conf", "max-streams = 5\nmax-connections = 5\nthreads = 1\n");
  const Variable config("LOSSD_CONFIG", path.c_str());
  const Variable streams("LOSSD_MAX_STREAMS", "6");
  const Variable connections("LOSSD_MAX_CONNECTIONS", "6");
  const Variable service("LOSSD_PORT", "tcp://10.0.0.11:50151");
  const auto program = Lossd({"--listen=127.0.0.1:0", "--max-connections=7"});
  AddressOf(*program);
  EXPECT_THAT(program->ReadLine(), AllOf(HasSubstr(" max-connections=7 "),
                                         HasSubstr(" max-streams=6 "), HasSubstr(" threads=1 ")));
  const auto printed = Lossd({"--print-config"});
  EXPECT_EQ(printed->Wait(), 0);
  EXPECT_THAT(printed->out(), HasSubstr("# given as " + path + ":3: threads\nthreads = 1\n"));
}

TEST(Binary, BadConfigurationExits2) {
  const TempDir scratch;
  const std::string path = scratch.Write("lossd.conf", "max-steams = 5\n");
  ExpectRefusal({"--config=" + path}, 2, path + ":1: there is no setting max-steams; wanted");
  const Variable typo("LOSSD_MAX_STEAMS", "6");
  ExpectRefusal({}, 2, "LOSSD_MAX_STEAMS is no setting; wanted perhaps LOSSD_MAX_STREAMS");
}

TEST(Binary, ForcedTargetIsUsedOrRefused) {
  {
    const Variable forced("LOSSD_FORCE_TARGET", "AVX9");
    ExpectRefusal({"--listen=127.0.0.1:0"}, 2, "LOSSD_FORCE_TARGET is \"AVX9\"; wanted one of ");
  }
  const Variable forced("LOSSD_FORCE_TARGET", "SCALAR");  // every CPU has it
  const auto program = Lossd({"--listen=127.0.0.1:0"});
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  const auto stub = v1::LossService::NewStub(Connect(AddressOf(*program)));
  ASSERT_TRUE(stub->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.simd_target(), "SCALAR");
}

}  // namespace
}  // namespace lossd::testing
