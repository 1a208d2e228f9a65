// Calls over several servers: who gets them, and who does not.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/grpc/grpc_transport.h"
#include "lossd/client.h"
#include "tests/client/any_call.h"
#include "tests/client/echo_server.h"

namespace lossd {
namespace {

// Calls until something happens are at most so many: far more than it takes.
constexpr int kMostCalls = 2000;

class Balancing : public testing::Test {
 protected:
  void Connect(const std::string& target, const ClientOptions& options = {}) {
    queue_.reset();
    transport_ = *MakeGrpcTransport(target, options);
    queue_ = transport_->NewQueue();
  }

  std::string List() const {
    std::vector<std::string> addresses;
    for (const EchoServer& server : servers_) addresses.push_back(server.address());
    return absl::StrJoin(addresses, ",");
  }

  absl::Status Call() {
    std::optional<absl::Status> status;
    transport_->Unary(*queue_, AnyCall(*transport_), {},
                      [&](const auto& got) { status = got.status(); });
    while (!status.has_value()) queue_->RunOne(absl::InfiniteFuture());
    return *status;
  }

  // Calls, failures forgiven, until each of `servers` has answered.
  bool CallUntilAnsweredBy(std::vector<int> servers) {
    std::array<int, 3> before = Answered();
    for (int i = 0; i < kMostCalls; ++i) {
      bool all = true;
      for (const int server : servers) all = all && Answered()[server] > before[server];
      if (all) return true;
      Call().IgnoreError();
    }
    return false;
  }

  std::array<int, 3> Answered() {
    return {servers_[0].service().calls(), servers_[1].service().calls(),
            servers_[2].service().calls()};
  }

  std::array<EchoServer, 3> servers_;
  std::shared_ptr<Transport> transport_;
  std::unique_ptr<EventQueue> queue_;
};

// A server that takes every call and answers none, not even those that ask for its health.
class SilentServer {
 public:
  SilentServer() {
    grpc::EnableDefaultHealthCheckService(false);
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&service_);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    server_ = builder.BuildAndStart();
  }
  ~SilentServer() { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  class Service : public grpc::CallbackGenericService {
    grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
      struct Reactor : grpc::ServerGenericBidiReactor {
        void OnCancel() override { Finish(grpc::Status::CANCELLED); }
        void OnDone() override { delete this; }
      };
      return new Reactor;
    }
  };

  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// The first call begins before any server is known, perhaps on the connection to the silent one.
TEST_F(Balancing, ACallDoesNotWaitForAServerWhileAnotherIsThere) {
  const SilentServer silent;
  const std::string both[] = {absl::StrCat(silent.address(), ",", servers_[0].address()),
                              absl::StrCat(servers_[0].address(), ",", silent.address())};
  for (const std::string& target : both) {
    const absl::StatusOr<Client> client = Client::Connect(target, {.channels = 1});
    ASSERT_TRUE(client.ok()) << client.status();
    // Echoed, the request of a health check is an answer that nobody understands.
    const absl::Time start = absl::Now();
    const absl::Status status =
        Client(*client).GetServerInfo({.timeout = absl::Seconds(20)}).status();
    EXPECT_LT(absl::Now() - start, absl::Seconds(2)) << target << ": " << status;
    EXPECT_FALSE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_FALSE(absl::IsUnavailable(status)) << status;
  }
}

TEST_F(Balancing, EveryServerOfAListGetsItsShareOfACallerWhoCallsOneAfterTheOther) {
  const std::string numeric = absl::StrCat("ipv4:", List());
  for (const std::string& target : {List(), numeric}) {
    for (const int channels : {1, 2}) {
      Connect(target, {.channels = channels});
      ASSERT_TRUE(CallUntilAnsweredBy({0, 1, 2})) << target;
      const std::array<int, 3> before = Answered();
      for (int i = 0; i < 30; ++i) ASSERT_TRUE(Call().ok());
      for (int s = 0; s < 3; ++s) EXPECT_EQ(Answered()[s], before[s] + 10) << target;
    }
  }
}

TEST_F(Balancing, CallsAtOnceGoToDifferentServers) {
  Connect(List(), {.channels = 2});
  ASSERT_TRUE(CallUntilAnsweredBy({0, 1, 2}));
  const std::array<int, 3> before = Answered();
  int over = 0;
  for (int i = 0; i < 3; ++i) {
    transport_->Unary(*queue_, AnyCall(*transport_), {}, [&](const auto&) { ++over; });
  }
  while (over < 3) queue_->RunOne(absl::InfiniteFuture());
  for (int s = 0; s < 3; ++s) EXPECT_EQ(Answered()[s], before[s] + 1);
}

TEST_F(Balancing, AServerThatDoesNotServeGetsNoCalls) {
  servers_[1].SetServing(false);
  Connect(List());
  EXPECT_TRUE(CallUntilAnsweredBy({0, 2}));
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(Call().ok());
  EXPECT_EQ(Answered()[1], 0);
}

TEST_F(Balancing, HealthIsFollowedWhileConnected) {
  Connect(List());
  ASSERT_TRUE(CallUntilAnsweredBy({0, 1, 2}));
  servers_[2].SetServing(false);
  // Until it has come around: a turn that leaves the server out.
  int calls = 0;
  for (int without = 0; without < 12 && calls < kMostCalls; ++calls) {
    const int before = Answered()[2];
    ASSERT_TRUE(Call().ok());
    without = Answered()[2] == before ? without + 1 : 0;
  }
  ASSERT_LT(calls, kMostCalls);
  const int before = Answered()[2];
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(Call().ok());
  EXPECT_EQ(Answered()[2], before);
  servers_[2].SetServing(true);
  EXPECT_TRUE(CallUntilAnsweredBy({2}));
}

TEST_F(Balancing, ANameIsSpreadOverTheServersThatServe) {
  Connect("dns:///" + servers_[0].address());
  ASSERT_TRUE(CallUntilAnsweredBy({0}));
  servers_[0].SetServing(false);
  int calls = 0;
  while (Call().ok() && calls < kMostCalls) ++calls;
  EXPECT_LT(calls, kMostCalls);  // a name goes by health, too
  servers_[0].SetServing(true);
  EXPECT_TRUE(CallUntilAnsweredBy({0}));
}

// A plain address is one server: nobody watches its health, and it is called whatever that is.
TEST_F(Balancing, OneServerIsCalledWhateverItsHealth) {
  servers_[0].SetServing(false);
  Connect(servers_[0].address());
  EXPECT_TRUE(Call().ok());
}

}  // namespace
}  // namespace lossd
