// The client library and several real servers behind one target: what one of them does not do,
// another one does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lossd/client.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

constexpr char kQuiet[] = "--log-level=error";

absl::StatusOr<double> Loss(Client& client, TransferMode mode = TransferMode::kUnary) {
  const std::vector<float> predictions = {1, 2, 3, .5, -1, 0};
  const std::vector<int64_t> labels = {2, 0};
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {2, 3});
  inputs.targets = TensorView::Of<int64_t>(labels, {2});
  const absl::StatusOr<LossResult> result = client.Compute({}, inputs, {}, {.mode = mode});
  if (!result.ok()) return result.status();
  return result->loss;
}

// All of them the same bits.
void ExpectAnswers(Client& client, int calls) {
  for (int i = 0; i < calls; ++i) {
    const absl::StatusOr<double> loss =
        Loss(client, i % 2 == 0 ? TransferMode::kUnary : TransferMode::kStream);
    ASSERT_TRUE(loss.ok()) << loss.status();
    static const double first = *loss;
    EXPECT_EQ(*loss, first);
    EXPECT_NEAR(*loss, 0.5058682848905544, 1e-6);
  }
}

TEST(Replicas, AnyOneOfThemIsEnough) {
  ServerProcess servers[3];
  const std::string list =
      absl::StrCat(servers[0].address(), ",", servers[1].address(), ",", servers[2].address());
  auto client = Client::Connect(list);
  ASSERT_TRUE(client.ok()) << client.status();
  ExpectAnswers(*client, 12);
  servers[0].process().Signal(SIGKILL);
  ExpectAnswers(*client, 12);
  servers[2].process().Signal(SIGTERM);
  ExpectAnswers(*client, 12);
  EXPECT_EQ(servers[2].process().Wait(), 0);
  ExpectAnswers(*client, 12);
  EXPECT_TRUE(client->CheckHealth().value_or(false));
  servers[1].process().Signal(SIGKILL);
  servers[1].process().Wait();
  EXPECT_TRUE(absl::IsUnavailable(Loss(*client).status()));
}

TEST(Replicas, NobodyIsNeededAtTheStart) {
  ServerProcess server;
  std::string gone;
  { gone = ServerProcess().address(); }
  auto client = Client::Connect(absl::StrCat(gone, ",", server.address(), ",no-such.invalid:1"));
  ASSERT_TRUE(client.ok()) << client.status();
  ExpectAnswers(*client, 12);
}

TEST(Replicas, NamesAndAddresses) {
  ServerProcess server;
  const std::string& address = server.address();
  const std::string port = address.substr(address.rfind(':') + 1);
  for (const std::string& target :
       {absl::StrCat("dns:///localhost:", port), absl::StrCat("dns:///127.0.0.1:", port),
        absl::StrCat("ipv4:", address), absl::StrCat("ipv4:", address, ",", address),
        absl::StrCat("localhost:", port, ",", address)}) {
    SCOPED_TRACE(target);
    auto client = Client::Connect(target);
    ASSERT_TRUE(client.ok()) << client.status();
    ExpectAnswers(*client, 8);
    EXPECT_TRUE(client->CheckHealth().value_or(false));
    EXPECT_TRUE(client->GetServerInfo().ok());
  }
}

// Each by the name it is called by, and not by that of another.
TEST(Replicas, EachProvesWhoItIs) {
  const TempDir scratch;
  const Authority ca("servers");
  const std::string ca_file = scratch.Write("ca.pem", ca.certificate());
  const auto flags = [&](const Identity& identity, const std::string& name) {
    return std::vector<std::string>{
        kQuiet, "--tls-cert=" + scratch.Write(name + ".pem", identity.certificate),
        "--tls-key=" + scratch.Write(name + ".key", identity.key)};
  };
  ServerProcess named({"127.0.0.1:0"}, flags(ca.SignFor("DNS:localhost"), "named"));
  ServerProcess numbered({"127.0.0.1:0"}, flags(ca.SignFor("IP:127.0.0.1"), "numbered"));
  const std::string port = named.address().substr(named.address().rfind(':') + 1);
  const std::string list = absl::StrCat("localhost:", port, ",", numbered.address());
  auto client = Client::Connect(list, {.tls = TlsOptions{.ca_file = ca_file}});
  ASSERT_TRUE(client.ok()) << client.status();
  ExpectAnswers(*client, 6);
  named.process().Signal(SIGKILL);
  ExpectAnswers(*client, 6);
  // A certificate for an address is none for a name.
  auto wrong = Client::Connect(absl::StrCat(list, ",", list),
                               {.retry = {.max_attempts = 2},
                                .tls = TlsOptions{.ca_file = ca_file, .server_name = "localhost"}});
  ASSERT_TRUE(wrong.ok()) << wrong.status();
  EXPECT_TRUE(absl::IsUnavailable(Loss(*wrong).status()));
}

TEST(Replicas, ATokenStaysOnThisMachineWithEachOfThem) {
  ServerProcess server;
  const ClientOptions options{.token = "secret"};
  EXPECT_TRUE(Client::Connect(absl::StrCat(server.address(), ",[::1]:1"), options).ok());
  for (const char* const other : {"loss.example:1", "10.0.0.1:1"}) {
    const absl::Status error =
        Client::Connect(absl::StrCat(server.address(), ",", other), options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(error)) << error;
    EXPECT_THAT(std::string(error.message()), HasSubstr(other));
  }
}

}  // namespace
}  // namespace lossd
