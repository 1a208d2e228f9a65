// Rows 31-38, 44-46, 48 and 50: time, cancellation, load, processes and bad lines.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/proxy.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using ::testing::AnyOf;
using testing::Problem;
using testing::RawCall;

constexpr char kCompute[] = "/lossd.v1.LossService/Compute";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";

class LifeRows : public Row {};

Client ConnectTo(const std::string& address, int attempts) {
  return *Client::Connect(address, {.retry = {.max_attempts = attempts,
                                              .initial_backoff = absl::Milliseconds(20),
                                              .max_backoff = absl::Milliseconds(200)},
                                    .channels = 1,
                                    .block_bytes = 60'000});
}

TEST_F(LifeRows, Row31_NoDeadline) {
  Serve();
  RawClient client(address());
  client.Greet();
  client.Open(1, kCompute);
  client.SendData(1, http2::Message(Problem(3, 5).Request().SerializeAsString()), true);
  EXPECT_EQ(client.Status(1), 0);
}

TEST_F(LifeRows, Row32_OddDeadlines) {
  Serve();
  const std::string request = http2::Message(Problem(3, 5).Request().SerializeAsString());
  const std::pair<const char*, std::vector<int>> deadlines[] = {
      {"0n", {4, 1}},   {"1n", {0, 1, 4}}, {"99999999H", {0}}, {"123456789S", {0, -1}},
      {"-1S", {0, -1}}, {"S", {0, -1}},    {"soon", {0, -1}},  {"", {0, -1}},
  };
  for (const auto& [text, allowed] : deadlines) {
    RawClient client(address());
    client.Greet();
    client.Open(1, kCompute, {{"grpc-timeout", text}});
    client.SendData(1, request, true);
    const bool silence = ::testing::Value(allowed, ::testing::Contains(-1));
    const int status = client.Status(1, silence ? 3 : 60).value_or(-1);
    std::printf("  grpc-timeout \"%s\": %d %s\n", text, status, client.what().c_str());
    EXPECT_THAT(allowed, ::testing::Contains(status)) << text;
  }
}

// The deadline passes while the client sends, and while it reads; what was begun is dropped.
TEST_F(LifeRows, Row33_ADeadlinePassesInEveryPhase) {
  Serve();
  const Problem problem(400, 3000);
  const auto stub = Stub();
  for (const int64_t rows : {0, 1, 200, 399}) {
    for (const bool read : {false, true}) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(60)));
      const auto stream = stub->ComputeStream(&context);
      stream->Write(problem.Header());
      stream->Write(problem.Weights());
      stream->Write(problem.Labels());
      v1::ComputeStreamResponse answer;
      for (int64_t row = 0; row < rows && stream->Write(problem.Block(row, 1)); ++row) {
        if (read) stream->Read(&answer);
      }
      while (stream->Read(&answer)) {
      }
      const grpc::Status status = stream->Finish();
      EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
    }
  }
}

constexpr int kTimes = 150;
const Problem& Cancelled() {
  static const auto& problem = *new Problem(40, 500);
  return problem;
}

// Sends as much as the phase says, and cancels.
void CancelStream(v1::LossService::Stub& stub, int phase) {
  grpc::ClientContext context;
  const auto stream = stub.ComputeStream(&context);
  v1::ComputeStreamResponse answer;
  if (phase >= 1) stream->Write(Cancelled().Header());
  if (phase >= 2) stream->Write(Cancelled().Weights());
  if (phase >= 3) stream->Write(Cancelled().Labels());
  if (phase >= 4) stream->Write(Cancelled().Block(0, 20));
  if (phase >= 5) stream->Read(&answer);
  context.TryCancel();
  while (stream->Read(&answer)) {
  }
  stream->Finish();
}

// A client goes away in each phase, again and again: nothing of it stays. In the first phases it is
// gone before the server has seen the call.
TEST_F(LifeRows, Row34_CancelledInEveryPhase) {
  Serve();
  Proxy proxy(address(), {});
  const auto stub = v1::LossService::NewStub(testing::Connect(proxy.address()));
  for (int phase = 0; phase < 6; ++phase) {
    for (int i = 0; i < (phase < 2 ? 10 : 1) * kTimes; ++i) CancelStream(*stub, phase);
  }
  for (int i = 0; i < kTimes; ++i) {
    grpc::ClientContext context;
    v1::ComputeResponse response;
    std::thread canceller([&context] { context.TryCancel(); });
    stub->Compute(&context, Cancelled().Request(), &response);
    canceller.join();
  }
}

// A process of many clients is killed in the middle of what they do.
TEST_F(LifeRows, Row35_AClientIsKilled) {
  Serve();
  std::vector<RawClient> clients;
  const Problem problem(64, 2000);
  for (int i = 0; i < 50; ++i) {
    RawClient& client = clients.emplace_back(address());
    client.Greet(i % 2 == 0 ? 0 : 1 << 20);
    client.Open(1, "/lossd.v1.LossService/ComputeStream");
    client.SendData(1, http2::Message(problem.Header().SerializeAsString()));
    client.SendData(1, http2::Message(problem.Weights().SerializeAsString()));
    client.SendData(1, http2::Message(problem.Labels().SerializeAsString()));
    const std::string block = http2::Message(problem.Block(0, 4).SerializeAsString());
    client.SendData(1, block.substr(0, i % 3 == 0 ? block.size() / 2 : block.size()));
  }
  sentinel().AwaitCalls(4);
  EXPECT_GE(sentinel().grown_descriptors(), 50);
  for (RawClient& client : clients) client.CloseWithReset();
  EXPECT_TRUE(HoldsWithin(absl::Seconds(60), [&] { return sentinel().grown_descriptors() <= 0; }));
}

// While gRPC parses, the kernel reports further bytes and the reset behind them as one event. gRPC
// takes the bytes and waits for another event, which never comes.
TEST_F(LifeRows, Row35_AResetBehindUnreadBytes) {
  Serve();
  const std::string bytes = http2::Bytes(http2::kWindowUpdate, http2::kNone, 0, http2::Number(1));
  for (int i = 0; i < 1000; ++i) {
    RawClient client(address());
    client.Greet();
    for (int part = 0; part < 10; ++part) client.Send(bytes);
    client.CloseWithReset();
  }
}

TEST_F(LifeRows, Row36_TheServerIsStoppedForAWhile) {
  Serve();
  sentinel().AwaitCalls(2);
  server().process().Freeze();
  Client client = ConnectTo(address(), 1);
  const KnownCall call(16, 40);
  EXPECT_EQ(call.Try(client, TransferMode::kUnary, absl::Milliseconds(300)).code(),
            absl::StatusCode::kDeadlineExceeded);
  server().process().Signal(SIGCONT);
  EXPECT_EQ(call.Try(client, TransferMode::kUnary), absl::OkStatus());
  sentinel().AwaitCalls(10);
}

// Many connections that say nothing, and many that come and go.
TEST_F(LifeRows, Row38_IdleConnections) {
  Serve({"--max-connections=600"});
  std::vector<int> idle;
  for (int i = 0; i < 1500; ++i) idle.push_back(ConnectTcp(address()));
  sentinel().AwaitCalls(4);
  EXPECT_LT(sentinel().grown_descriptors(), 620);
  EXPECT_LT(sentinel().grown_bytes(), 600 * (40 << 10));
  for (const int fd : idle) {
    if (fd >= 0) close(fd);
  }
  constexpr int kConnects = 2000;
  const absl::Time begin = absl::Now();
  for (int i = 0; i < kConnects; ++i) {
    const int fd = ConnectTcp(address());
    ASSERT_GE(fd, 0) << "after " << i << " connects that were served";
    close(fd);
  }
  std::printf("  %d connects in %s\n", kConnects,
              absl::FormatDuration(absl::Now() - begin).c_str());
}

TEST_F(LifeRows, Row38_IdleConnectionsThatGreeted) {
  Serve({"--max-connections=400"});
  std::vector<RawClient> idle;
  for (int i = 0; i < 300; ++i) idle.emplace_back(address()).Greet();
  sentinel().AwaitCalls(4);
  const int64_t each = sentinel().grown_bytes() / 300;
  std::printf("  %ld KiB for each of 300 idle connections\n", static_cast<long>(each >> 10));
  EXPECT_LT(each, 120 << 10);
}

TEST_F(LifeRows, Row44_OneCore) {
  Serve();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  const std::string tasks = absl::StrCat("/proc/", pid(), "/task");
  std::string command = absl::StrCat("taskset -acp ", sched_getcpu(), " ", pid(), " > /dev/null");
  ASSERT_EQ(std::system(command.c_str()), 0);
  sentinel().AwaitCalls(40);
  // No thread per call; gRPC may start helpers of its own, once.
  EXPECT_LE(StateOf(pid()).threads, sentinel().base().threads + 3);
}

// ------------------------------------------------------------------------------- ends of servers

// Clients that go on calling until told to stop; all their calls must come out right.
class Crowd {
 public:
  Crowd(std::vector<std::string> addresses, int attempts) : addresses_(std::move(addresses)) {
    for (int i = 0; i < 4; ++i) {
      threads_.emplace_back([this, i, attempts] { Run(i, attempts); });
    }
  }
  ~Crowd() { Stop(); }
  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  int answered() const { return answered_; }
  std::vector<absl::Status> failures() const { return failures_; }

 private:
  // Of several servers, the next one is called when one cannot be reached.
  void Run(int number, int attempts) {
    const KnownCall call(number % 2 == 0 ? 20 : 400, 100);
    const auto mode = number % 2 == 0 ? TransferMode::kUnary : TransferMode::kStream;
    std::vector<Client> clients;
    for (const std::string& address : addresses_) clients.push_back(ConnectTo(address, attempts));
    size_t at = number % clients.size();
    while (!stop_) {
      absl::Status status = absl::UnavailableError("");
      for (size_t i = 0; i < 2 * clients.size() && absl::IsUnavailable(status); ++i) {
        status = call.Try(clients[at], mode);
        if (!status.ok()) at = (at + 1) % clients.size();
      }
      if (status.ok()) ++answered_;
      const std::lock_guard lock(mutex_);
      if (!status.ok()) failures_.push_back(status);
    }
  }

  const std::vector<std::string> addresses_;
  std::atomic<bool> stop_{false};
  std::atomic<int> answered_{0};
  std::mutex mutex_;
  std::vector<absl::Status> failures_;
  std::vector<std::thread> threads_;
};

void AwaitAnswers(const Crowd& crowd, int count) {
  const int wanted = crowd.answered() + count;
  EXPECT_TRUE(HoldsWithin(absl::Seconds(60), [&] { return crowd.answered() >= wanted; }));
}

TEST(EndsOfServers, Row45_TermUnderLoad) {
  ServerProcess server({"127.0.0.1:0"}, {"--log-level=error"});
  Crowd crowd({server.address()}, 2);
  AwaitAnswers(crowd, 20);
  const absl::Time begin = absl::Now();
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(25)) << "it waited for the end of the drain";
  crowd.Stop();
  // What was taken was answered; the rest was told that nobody is there. Calls that arrive on an
  // old connection while gRPC shuts down are reset by it and come out as CANCELLED; the client
  // tries those again, and finds nobody there either.
  for (const absl::Status& failure : crowd.failures()) {
    EXPECT_EQ(failure.code(), absl::StatusCode::kUnavailable) << failure;
  }
}

TEST(EndsOfServers, Row45_TermTwice) {
  ServerProcess server;
  const auto stub = v1::LossService::NewStub(testing::Connect(server.address()));
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);  // would go on for ever
  testing::BeginStream(Problem(4, 8), *stream);
  server.process().Signal(SIGTERM);
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(HoldsWithin(absl::Seconds(20), [&] { return ConnectTcp(server.address()) < 0; }));
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 128 + SIGTERM);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(25)) << "it waited for the end of the drain";
  context.TryCancel();
  EXPECT_FALSE(stream->Finish().ok());
}

TEST(EndsOfServers, Row46_KillOneOfTwo) {
  ServerProcess first;
  ServerProcess second;
  Crowd crowd({first.address(), second.address()}, 10);
  AwaitAnswers(crowd, 20);
  first.process().Signal(SIGKILL);
  first.process().Wait();
  AwaitAnswers(crowd, 20);
  ServerProcess again({first.address()});
  AwaitAnswers(crowd, 20);
  second.process().Signal(SIGKILL);
  second.process().Wait();
  AwaitAnswers(crowd, 20);
  crowd.Stop();
  EXPECT_THAT(crowd.failures(), ::testing::IsEmpty());
}

// ------------------------------------------------------------------------------------ bad lines

TEST_F(LifeRows, Row48_SlowAndChoppedLines) {
  Serve();
  const KnownCall call(30, 40);
  const std::pair<const char*, ProxyFaults> lines[] = {
      {"late", {.delay = absl::Milliseconds(20)}},
      {"byte by byte", {.max_segment = 1}},
      {"chopped and late", {.seed = 7, .max_segment = 900, .delay = absl::Milliseconds(2)}},
  };
  for (const auto& [name, faults] : lines) {
    Proxy proxy(address(), faults);
    Client client = ConnectTo(proxy.address(), 1);
    for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
      EXPECT_EQ(call.Try(client, mode), absl::OkStatus()) << name;
    }
  }
}

// A reset after any number of bytes, in either direction: the second attempt brings the same bits.
TEST_F(LifeRows, Row48_AResetAnywhere) {
  Serve();
  const KnownCall call(30, 40);
  oracle::Random random(48);
  for (int i = 0; i < 60; ++i) {
    ProxyFaults faults;
    (i % 2 == 0 ? faults.reset_up_at : faults.reset_down_at) = 1 + random.Below(6000);
    Proxy proxy(address(), faults);
    Client client = ConnectTo(proxy.address(), 5);
    const auto mode = i % 4 < 2 ? TransferMode::kUnary : TransferMode::kStream;
    EXPECT_EQ(call.Try(client, mode), absl::OkStatus())
        << faults.reset_up_at << " up, " << faults.reset_down_at
        << " down, LOSSD_TEST_SEED=" << oracle::TestSeed();
  }
}

// The connection stands still after any number of bytes: the deadline holds, the server forgets.
TEST_F(LifeRows, Row48_AStallAnywhere) {
  Serve();
  const KnownCall call(300, 400);
  oracle::Random random(49);
  for (int i = 0; i < 12; ++i) {
    ProxyFaults faults;
    (i % 2 == 0 ? faults.stall_up_at : faults.stall_down_at) = 1 + random.Below(200'000);
    Proxy proxy(address(), faults);
    Client client = ConnectTo(proxy.address(), 1);
    EXPECT_EQ(call.Try(client, TransferMode::kStream, absl::Milliseconds(250)).code(),
              absl::StatusCode::kDeadlineExceeded);
  }
}

// One bit changes on the way. TCP's own checksum and TLS are what finds that; lossd's messages in
// the clear have none, so it may come through: refused, broken off, or computed from other bits,
// but never more than that.
TEST_F(LifeRows, Row26_AFlippedBitInTheClear) {
  Serve();
  const KnownCall call(30, 40);
  oracle::Random random(26);
  int ok = 0, other = 0, refused = 0;
  for (int i = 0; i < 60; ++i) {
    ProxyFaults faults;
    (i % 2 == 0 ? faults.flip_up_at : faults.flip_down_at) = random.Below(5600);
    Proxy proxy(address(), faults);
    Client client = ConnectTo(proxy.address(), 1);
    const absl::Status status = call.Try(client, TransferMode::kUnary, absl::Seconds(2));
    ok += status.ok();
    other += absl::IsDataLoss(status);
    refused += !status.ok() && !absl::IsDataLoss(status);
  }
  std::printf("  of 60 flips: %d without effect, %d other bits, %d errors\n", ok, other, refused);
  EXPECT_GT(other, 0)
      << "the proxy flips nothing, or messages are protected now: say so in the docs";
}

// Under TLS a changed bit breaks the connection: an error or the right answer, nothing else.
TEST(LinesWithTls, Row26_AFlippedBitUnderTls) {
  const TempDir scratch;
  const Authority authority("servers");
  const Identity identity = authority.Sign(1);
  ServerProcess server(
      {"127.0.0.1:0"},
      {"--log-level=error", "--tls-cert=" + scratch.Write("certificate.pem", identity.certificate),
       "--tls-key=" + scratch.Write("key.pem", identity.key)});
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority.certificate();
  const Problem problem(30, 40);
  oracle::Random random(27);
  int right = 0, failed = 0;
  for (int i = 0; i < 60; ++i) {
    ProxyFaults faults;
    // Now and then nowhere: that call succeeds.
    if (i % 10 > 0) (i % 2 == 0 ? faults.flip_up_at : faults.flip_down_at) = random.Below(5600);
    Proxy proxy(server.address(), faults);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto stub = v1::LossService::NewStub(
        grpc::CreateCustomChannel(proxy.address(), grpc::SslCredentials(options), arguments));
    grpc::ClientContext context;
    const absl::Duration patience = i % 10 > 0 ? absl::Seconds(2) : absl::Minutes(1);
    context.set_deadline(absl::ToChronoTime(absl::Now() + patience));
    v1::ComputeResponse response;
    const grpc::Status status = stub->Compute(&context, problem.Request(), &response);
    const std::string want(reinterpret_cast<const char*>(problem.gradient.data()),
                           problem.gradient.size() * sizeof(float));
    if (status.ok()) {
      EXPECT_EQ(response.gradient().data(), want);
    }
    (status.ok() ? right : failed) += 1;
  }
  std::printf("  of 60 flips: %d right answers, %d errors\n", right, failed);
  EXPECT_GE(right, 6);
  EXPECT_GT(failed, 0) << "the proxy flips nothing";
}

TEST_F(LifeRows, Row50_WatchersOfTheHealth) {
  Serve();
  constexpr int kWatchers = 400;
  std::vector<RawClient> watchers;
  for (int i = 0; i < 4; ++i) {
    RawClient& client = watchers.emplace_back(address());
    client.Greet();
    for (uint32_t k = 0; k < kWatchers / 4; ++k) {
      if (!client.Open(2 * k + 1, kWatch)) break;
      if (!client.SendData(2 * k + 1, http2::Message(""), true)) break;
    }
  }
  sentinel().AwaitCalls(4);
  std::printf("  +%ld KiB for %d watchers\n", static_cast<long>(sentinel().grown_bytes() >> 10),
              kWatchers);
  EXPECT_LT(sentinel().grown_bytes(), 32 << 20);
}

}  // namespace
}  // namespace lossd
