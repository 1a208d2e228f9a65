#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/listen/accept_loop.h"
#include "server/listen/listen_address.h"
#include "server/listen/open_connections.h"
#include "tests/server/harness.h"
#include "tests/server/raw_socket.h"
#include "tests/server/small_server.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

// Connections: how they come in, how many may, and that they still do after the system had nothing
// to give.
namespace lossd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

using Stub = v1::LossService::Stub;

// A call that waits for a connection, at most so long.
grpc::Status CallWithin(std::chrono::milliseconds time, Stub& stub) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + time);
  v1::GetServerInfoResponse info;
  return stub.GetServerInfo(&context, {}, &info);
}

grpc::Status Call(Stub& stub) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  return stub.GetServerInfo(&context, {}, &info);
}

// --------------------------------------------------------------------------- want of descriptors

// A program that listens as its first line says.
class Listener {
 public:
  explicit Listener(const std::vector<std::string>& command) : process_(command) {
    const std::string line = process_.ReadLine().value_or("");
    const std::string start = "lossd: listening on ";
    if (line.starts_with(start)) address_ = line.substr(start.size());
  }

  std::unique_ptr<Stub> NewStub() const { return v1::LossService::NewStub(Connect(address_)); }
  const std::string& address() const { return address_; }

  // Leaves the program no further descriptor, or gives it back what it had.
  void Starve() {
    ASSERT_EQ(prlimit(process_.pid(), RLIMIT_NOFILE, nullptr, &usual_), 0);
    const rlimit none = {.rlim_cur = 3, .rlim_max = usual_.rlim_max};
    ASSERT_EQ(prlimit(process_.pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  }
  void Feed() { ASSERT_EQ(prlimit(process_.pid(), RLIMIT_NOFILE, &usual_, nullptr), 0); }

 private:
  Process process_;
  std::string address_;
  rlimit usual_{};
};

// Calls on one connection without a pause; none may fail.
class Load {
 public:
  explicit Load(std::unique_ptr<Stub> stub) : stub_(std::move(stub)) {
    EXPECT_TRUE(Call(*stub_).ok());
    thread_ = std::thread([this] {
      while (!stop_) failures_ += Call(*stub_).ok() ? 0 : 1;
    });
  }
  ~Load() {
    stop_ = true;
    thread_.join();
    EXPECT_EQ(failures_, 0) << "connections that exist go on";
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

 private:
  const std::unique_ptr<Stub> stub_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> failures_ = 0;
  std::thread thread_;
};

// Whether a listener that could not accept for a while, under load, does so once it is able to,
// within that time.
bool Recovers(Listener& listener, std::chrono::seconds patience) {
  const Load load(listener.NewStub());
  listener.Starve();
  std::vector<RawSocket> crowd;
  for (int i = 0; i < 100; ++i) crowd.emplace_back(listener.address());
  const auto starved = listener.NewStub();
  EXPECT_EQ(CallWithin(std::chrono::milliseconds(500), *starved).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  listener.Feed();
  const auto fresh = listener.NewStub();
  return CallWithin(patience, *fresh).ok();
}

// The undefined-behaviour sanitizer opens a pipe to look at an object's type, and takes what it
// cannot look at for no object.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kNeedsPipes = true;
#else
constexpr bool kNeedsPipes = false;
#endif

TEST(Descriptors, AfterAWantOfThemConnectionsComeInAgain) {
  if (kNeedsPipes) GTEST_SKIP() << "the sanitizer needs descriptors of its own";
  Listener lossd({LOSSD_BINARY, "--listen=127.0.0.1:0"});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Recovers(lossd, std::chrono::seconds(60))) << i;
}

// The control: without this, the test above would show nothing. (CVE-2023-4785)
TEST(Descriptors, TheListenerOfGrpcStaysDeaf) {
  if (kNeedsPipes) GTEST_SKIP() << "the sanitizer needs descriptors of its own";
  Listener stock({STOCK_SERVER_BINARY});
  EXPECT_FALSE(Recovers(stock, std::chrono::seconds(1)));
  const auto later = stock.NewStub();
  EXPECT_FALSE(CallWithin(std::chrono::seconds(3), *later).ok());
}

// ------------------------------------------------------------------------------------- counting

// Connections that were given away, and the ends this test keeps.
struct Pairs {
  Ledger ledger{{}};
  OpenConnections open{&ledger};
  std::map<std::string, std::pair<OwnedFd, OwnedFd>> sockets;

  ~Pairs() { EXPECT_EQ(ledger.unexplained(), 0); }

  // The number of its descriptor.
  int Add(const std::string& name) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    sockets[name] = {OwnedFd(pair[0]), OwnedFd(pair[1])};
    open.Add(pair[0], ledger.Open(name));
    return pair[0];
  }
  void Close(const std::string& name) { sockets[name].first = OwnedFd(); }

  // Those that were broken so far.
  std::vector<std::string> Broken() const {
    std::vector<std::string> broken;
    char byte;
    for (const auto& [name, pair] : sockets) {
      if (recv(pair.second.get(), &byte, 1, MSG_DONTWAIT) == 0) broken.push_back(name);
    }
    return broken;
  }
};

TEST(OpenConnections, ClosedOnesDoNotCountNorDoOthersWithTheSameNumber) {
  Pairs pairs;
  const int first = pairs.Add("ipv4:10.0.0.1:1");
  pairs.Add("ipv4:10.0.0.1:2");
  EXPECT_EQ(pairs.open.Count(), 2);
  pairs.Close("ipv4:10.0.0.1:1");
  const OwnedFd reused(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(reused.get(), first) << "the system gives the lowest number that is free";
  EXPECT_EQ(pairs.open.Count(), 1);
  EXPECT_EQ(pairs.open.of_address("ipv4:10.0.0.1"), 1);
  EXPECT_EQ(pairs.ledger.Find("ipv4:10.0.0.1:1"), nullptr);
  pairs.Close("ipv4:10.0.0.1:2");
  EXPECT_EQ(pairs.open.Count(), 0);
}

TEST(OpenConnections, LooksAgainOnlyAfterAWhileWhenTheyAreTooMany) {
  Pairs pairs;
  const absl::Time now = absl::UnixEpoch();
  EXPECT_TRUE(pairs.open.Below(1, now));
  pairs.Add("unix:0:1");
  EXPECT_TRUE(pairs.open.Below(2, now));
  EXPECT_FALSE(pairs.open.Below(1, now));
  pairs.Close("unix:0:1");
  EXPECT_FALSE(pairs.open.Below(1, now + absl::Milliseconds(9)));
  EXPECT_TRUE(pairs.open.Below(1, now + absl::Milliseconds(10)));
}

TEST(OpenConnections, AreBrokenByNameTcpAndUnixAlike) {
  Pairs pairs;
  for (const char* name : {"ipv4:10.0.0.1:1", "ipv6:%5B::1%5D:1", "unix:0:1", "unix:0:2"}) {
    pairs.Add(name);
  }
  EXPECT_TRUE(pairs.open.Break("unix:0:1"));
  EXPECT_FALSE(pairs.open.Break("unix:0:1")) << "only once";
  EXPECT_FALSE(pairs.open.Break("unix:0:3"));
  EXPECT_TRUE(pairs.open.Break("ipv6:%5B::1%5D:1"));
  EXPECT_THAT(pairs.Broken(), ElementsAre("ipv6:%5B::1%5D:1", "unix:0:1"));
  EXPECT_EQ(pairs.open.Count(), 2);
}

// Which of the descriptors the kernel has something new to say of, since this was last asked.
std::vector<std::string> Reported(const OwnedFd& epoll, const Pairs& pairs) {
  std::array<epoll_event, 8> events;
  const int count = epoll_wait(epoll.get(), events.data(), events.size(), 0);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    for (const auto& [name, pair] : pairs.sockets) {
      if (pair.first.get() == events[i].data.fd) names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(OpenConnections, ClosedOnesAreReportedAgainToWhoOverlookedIt) {
  Pairs pairs;
  const OwnedFd epoll(epoll_create1(EPOLL_CLOEXEC));
  for (const char* name : {"unix:0:1", "unix:0:2", "unix:0:3"}) {
    epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = pairs.Add(name)}};
    ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.data.fd, &event), 0);
  }
  pairs.open.ReportClosedAgain();
  EXPECT_THAT(Reported(epoll, pairs), ElementsAre()) << "all are alive";
  pairs.open.Break("unix:0:1");
  pairs.sockets["unix:0:2"].second = OwnedFd();  // its peer has gone
  EXPECT_THAT(Reported(epoll, pairs), ElementsAre("unix:0:1", "unix:0:2"));
  EXPECT_THAT(Reported(epoll, pairs), ElementsAre()) << "overlooked";
  pairs.open.ReportClosedAgain();
  EXPECT_THAT(Reported(epoll, pairs), ElementsAre("unix:0:1", "unix:0:2"));
  for (const char* name : {"unix:0:1", "unix:0:2", "unix:0:3"}) {
    EXPECT_FALSE(pairs.open.none());
    pairs.Close(name);
    pairs.open.ReportClosedAgain();
    pairs.open.Count();
  }
  EXPECT_TRUE(pairs.open.none());
}

TEST(OpenConnections, WhoHasMostMakesRoomTheIdleFirst) {
  Pairs pairs;
  for (const char* name : {"ipv4:10.0.0.1:1", "ipv4:10.0.0.1:2", "ipv4:10.0.0.1:3",
                           "ipv4:10.0.0.1:4", "ipv4:10.0.0.2:1", "ipv4:10.0.0.2:2"}) {
    pairs.Add(name);
  }
  const auto call = [&](const char* name) { pairs.ledger.Find(name)->CallBegan(); };
  call("ipv4:10.0.0.1:1");
  call("ipv4:10.0.0.1:2");
  call("ipv4:10.0.0.1:3");
  pairs.ledger.Find("ipv4:10.0.0.1:2")->CallEnded({});
  EXPECT_FALSE(pairs.open.MakeRoomFor("ipv4:10.0.0.1")) << "it has most itself";
  EXPECT_TRUE(pairs.open.MakeRoomFor("ipv4:10.0.0.3"));
  EXPECT_THAT(pairs.Broken(), ElementsAre("ipv4:10.0.0.1:4")) << "never called";
  EXPECT_TRUE(pairs.open.MakeRoomFor("ipv4:10.0.0.3"));
  EXPECT_THAT(pairs.Broken(), ElementsAre("ipv4:10.0.0.1:2", "ipv4:10.0.0.1:4")) << "idle";
  EXPECT_FALSE(pairs.open.MakeRoomFor("ipv4:10.0.0.2")) << "would have more";
}

TEST(OpenConnections, OfThoseWithoutACallTheOldestOfTheGreediestGivesWay) {
  Pairs pairs;
  for (const char* name :
       {"ipv4:10.0.0.2:1", "ipv4:10.0.0.1:1", "ipv4:10.0.0.1:2", "ipv4:10.0.0.1:3"}) {
    pairs.Add(name);
  }
  pairs.ledger.Find("ipv4:10.0.0.1:1")->CallBegan();
  EXPECT_EQ(pairs.open.without_calls(), 3);
  EXPECT_TRUE(pairs.open.BreakOneWithoutCalls());
  EXPECT_THAT(pairs.Broken(), ElementsAre("ipv4:10.0.0.1:2"));
  EXPECT_EQ(pairs.open.without_calls(), 2);
}

// --------------------------------------------------------------------------------------- limits

TEST(Connections, AboveTheLimitAreClosedAtOnceUntilOthersGo) {
  ServerOptions options = AnyPort();
  options.connections.max_connections = 3;
  const auto server = StartServer(options);
  std::vector<std::unique_ptr<Stub>> stubs;
  for (int i = 0; i < 3; ++i) {
    stubs.push_back(StubFor(*server));
    EXPECT_TRUE(Call(*stubs.back()).ok());
  }
  EXPECT_EQ(server->connections(), 3);
  EXPECT_EQ(Call(*StubFor(*server)).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server->connections(), 3);
  for (const auto& stub : stubs) EXPECT_TRUE(Call(*stub).ok());
  stubs.pop_back();
  WaitUntil([&] { return Call(*StubFor(*server)).ok(); });
}

TEST(Connections, ThatSayNothingAreFewAndKeepNobodyOut) {
  ServerOptions options = AnyPort();
  options.connections.max_connections = 40;  // a quarter may be silent
  options.connections.handshake_timeout = absl::Hours(1);
  const auto server = StartServer(options);
  std::vector<RawSocket> silent;
  for (int i = 0; i < 100; ++i) silent.emplace_back(server->addresses()[0]);
  EXPECT_TRUE(Call(*StubFor(*server)).ok());
  EXPECT_LE(server->connections(), 11);
  for (int i = 0; i < 80; ++i) EXPECT_TRUE(silent[i].WaitForClose()) << i;
}

TEST(Connections, ThatStallBeforeTheFirstCallAreClosed) {
  ServerOptions options = AnyPort();
  options.connections.handshake_timeout = absl::Seconds(2);  // the last call here has it, too
  const auto server = StartServer(options);
  const RawSocket silent(server->addresses()[0]);
  const RawSocket halting(server->addresses()[0]);
  halting.Send(kHttp2Begin.substr(0, 20));
  const RawSocket garbage(server->addresses()[0]);
  garbage.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(silent.WaitForClose());
  EXPECT_TRUE(halting.WaitForClose());
  EXPECT_TRUE(garbage.WaitForClose());
  WaitUntil([&] { return server->connections() == 0; });
  EXPECT_TRUE(Call(*StubFor(*server)).ok());
}

TEST(Connections, ThatAreIdleOrOldAreClosed) {
  for (const bool idle : {true, false}) {
    ServerOptions options = AnyPort();
    (idle ? options.connections.max_idle : options.connections.max_age) = absl::Milliseconds(100);
    const auto server = StartServer(options);
    const auto stub = StubFor(*server);
    for (int i = 0; i < 2; ++i) {  // a client connects again when it has a call to make
      EXPECT_TRUE(CallWithin(std::chrono::seconds(30), *stub).ok());
      WaitUntil([&] { return server->connections() == 0; });
    }
  }
}

TEST(Connections, HaveALimitOfCallsEach) {
  ServerOptions options = AnyPort();
  options.connections.max_streams = 1;
  const auto server = StartServer(options);
  const auto stub = StubFor(*server);
  const Problem problem(4, 8);
  grpc::ClientContext context;
  const auto stream = stub->ComputeStream(&context);
  BeginStream(problem, *stream);
  EXPECT_EQ(CallWithin(std::chrono::milliseconds(200), *stub).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Call(*StubFor(*server)).ok());
  EXPECT_TRUE(stream->Write(problem.Block(1, 3)));
  stream->WritesDone();
  EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
  EXPECT_TRUE(Call(*stub).ok());
}

TEST(Connections, TakeLittleMetadata) {
  const auto server = StartServer();
  grpc::ClientContext context;
  context.AddMetadata("filler", std::string(9000, 'x'));
  v1::GetServerInfoResponse info;
  EXPECT_EQ(StubFor(*server)->GetServerInfo(&context, {}, &info).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Call(*StubFor(*server)).ok());
}

TEST(Connections, LimitsOutOfRangeAreRefused) {
  ServerOptions options = AnyPort();
  options.connections.max_connections = int64_t{1} << 40;
  EXPECT_THAT(std::string(Server::Start(options).status().message()),
              MatchesRegex("max_connections is 1099511627776; wanted 1\\.\\.[0-9]+, below half.*"));
  options.connections = {.max_streams = 0};
  EXPECT_EQ(Server::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
}

// ----------------------------------------------------------------------------------- addresses

TEST(Connections, TellWhoCalls) {
  const TempDir scratch;
  for (const auto& [listen, peer] :
       {std::pair<std::string, std::string>("127.0.0.1:0", "ipv4:127\\.0\\.0\\.1:[1-9][0-9]*"),
        {"[::1]:0", "ipv6:%5B::1%5D:[1-9][0-9]*"},
        {"unix:" + scratch.Path("socket"), "unix:" + std::to_string(getuid()) + ":1"}}) {
    PeerService service;
    grpc::ServerBuilder builder;
    builder.RegisterService(&service);
    auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
    const auto server = builder.BuildAndStart();
    const auto address = ListenAddress::Parse(listen);
    auto sockets = address->Listen();
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    const std::string bound = address->WithPort(sockets->front().Port());
    Ledger ledger({});
    const auto loop = AcceptLoop::Start(
        *std::move(sockets), std::move(acceptor),
        {.connections = 10, .silent = 10, .silent_timeout = absl::InfiniteDuration()}, &ledger);
    ASSERT_TRUE(loop.ok()) << loop.status();
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    EXPECT_TRUE(v1::LossService::NewStub(Connect(bound))->GetServerInfo(&context, {}, &info).ok());
    EXPECT_THAT(info.version(), MatchesRegex(peer));
    EXPECT_GT(ledger.BytesReceived(info.version()).value_or(0), 100)
        << "gRPC's library calls the functions of this program";
    (*loop)->Stop();
    server->Shutdown();
  }
}

TEST(Connections, APortIsFreeAgainAtOnce) {
  std::string address;
  {
    const auto server = StartServer();
    address = server->addresses()[0];
    const auto stub = StubFor(*server);
    EXPECT_TRUE(Call(*stub).ok());
    server->Drain(absl::ZeroDuration());  // closes first, so that the port remembers
    ServerOptions again;
    again.listen = {address};
    const auto second = StartServer(again);
    EXPECT_TRUE(CallWithin(std::chrono::seconds(30), *stub).ok());
  }
}

TEST(Connections, InTheClearStayOnThisMachineUnlessAskedFor) {
  for (const char* open : {"0.0.0.0:0", "[::]:0"}) {
    ServerOptions options;
    options.listen = {"127.0.0.1:0", open};
    const absl::Status refused = Server::Start(options).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.message()),
                MatchesRegex("--listen .*:0 can be reached from other machines, without "
                             "encryption; .*--insecure-listen"));
    options.insecure_listen = true;
    EXPECT_TRUE(Call(*StubFor(*StartServer(options))).ok());
  }
}

}  // namespace
}  // namespace lossd::testing
