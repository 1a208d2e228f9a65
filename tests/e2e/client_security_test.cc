// The client library and the real server over TLS and mutual TLS, and with tokens: right answers to
// whom they are meant for, and to nobody else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lossd/client.h"
#include "tests/support/certificates.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using absl::StatusCode;

constexpr char kQuiet[] = "--log-level=error";  // refusals are wanted here

// What a call of each kind ends with; the same of all.
absl::Status CallAll(Client& client) {
  const std::vector<float> predictions = {1, 2, 3, .5, -1, 0};
  const std::vector<int64_t> labels = {2, 0};
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {2, 3});
  inputs.targets = TensorView::Of<int64_t>(labels, {2});
  const absl::Status info = client.GetServerInfo().status();
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    const absl::Status now = client.Compute({}, inputs, {}, {.mode = mode}).status();
    const absl::Status later = client.ComputeAsync({}, inputs, {}, {.mode = mode}).get().status();
    EXPECT_EQ(now.code(), info.code()) << now << " " << info;
    EXPECT_EQ(later.code(), info.code()) << later << " " << info;
  }
  return info;
}

absl::Status CallAll(const std::string& address, ClientOptions options) {
  options.retry.max_attempts = 1;
  absl::StatusOr<Client> client = Client::Connect(address, options);
  if (!client.ok()) return client.status();
  return CallAll(*client);
}

class Security : public ::testing::Test {
 protected:
  // As tools that rotate files do it: at one instant, by renaming.
  std::string Put(const std::string& name, const std::string& text) const {
    std::filesystem::rename(scratch_.Write("next", text), scratch_.Path(name));
    return scratch_.Path(name);
  }

  // In files of its own: servers read theirs again when they change.
  std::vector<std::string> ServerFlags(const Identity& server) const {
    const std::string serial = absl::StrCat(++servers_);
    return {kQuiet, "--tls-cert=" + Put("server.pem" + serial, server.certificate),
            "--tls-key=" + Put("server.key" + serial, server.key)};
  }

  // Of a client that `authority` signed.
  TlsOptions Mutual(const Authority& authority) const {
    const Identity client = authority.Sign(2);
    const std::string serial = absl::StrCat(++clients_);
    return {.ca_file = ca_file_,
            .certificate_file = Put("client.pem" + serial, client.certificate),
            .key_file = Put("client.key" + serial, client.key)};
  }

  const TempDir scratch_;
  const Authority ca_{"servers"};
  const Authority client_ca_{"clients"};
  const std::string ca_file_ = scratch_.Write("ca.pem", ca_.certificate());
  const std::string client_ca_file_ = scratch_.Write("client_ca.pem", client_ca_.certificate());
  mutable int clients_ = 0;
  mutable int servers_ = 0;
};

// ------------------------------------------------------------------------------------------- TLS

struct Answer {
  double loss = 0;
  std::vector<float> gradient;
  friend bool operator==(const Answer&, const Answer&) = default;
};

Answer Compute(const std::string& address, const ClientOptions& options, TransferMode mode) {
  constexpr int64_t kRows = 300;
  constexpr int64_t kClasses = 257;
  std::vector<float> predictions(kRows * kClasses);
  for (size_t i = 0; i < predictions.size(); ++i) predictions[i] = static_cast<float>(i % 97) / 8;
  std::vector<int64_t> labels(kRows);
  for (int64_t i = 0; i < kRows; ++i) labels[i] = i % kClasses;
  LossInputs inputs;
  inputs.predictions = TensorView::Of<float>(predictions, {kRows, kClasses});
  inputs.targets = TensorView::Of<int64_t>(labels, {kRows});
  Answer answer;
  answer.gradient.resize(predictions.size());
  absl::StatusOr<Client> client = Client::Connect(address, options);
  if (!client.ok()) {
    ADD_FAILURE() << client.status();
    return answer;
  }
  const absl::StatusOr<LossResult> result = client->Compute(
      {}, inputs, {.gradient = BytesOf(absl::MakeSpan(answer.gradient))}, {.mode = mode});
  EXPECT_TRUE(result.ok()) << result.status();
  if (result.ok()) answer.loss = result->loss;
  return answer;
}

TEST_F(Security, AnswersAreTheSameBitsWhateverProtectsThem) {
  const ServerProcess clear;
  const Answer expected = Compute(clear.address(), {}, TransferMode::kUnary);
  ASSERT_GT(expected.loss, 0);
  const std::vector<std::string> listen = {"127.0.0.1:0", "unix:" + scratch_.Path("socket")};
  std::vector<std::string> flags = ServerFlags(ca_.Sign(1));
  const ServerProcess tls(listen, flags);
  flags.push_back("--tls-client-ca=" + client_ca_file_);
  flags.push_back("--auth-token-file=" + Put("tokens", "trainer-7"));
  const ServerProcess mutual({"127.0.0.1:0", "unix:" + scratch_.Path("mutual")}, flags);
  for (const TransferMode mode : {TransferMode::kUnary, TransferMode::kStream}) {
    ClientOptions options{.block_bytes = 4096};  // many blocks
    options.tls = TlsOptions{.ca_file = ca_file_};
    for (const std::string& address : tls.addresses()) {
      EXPECT_EQ(Compute(address, options, mode), expected) << address;
    }
    options.tls = Mutual(client_ca_);
    options.token = "trainer-7";
    for (const std::string& address : mutual.addresses()) {
      EXPECT_EQ(Compute(address, options, mode), expected) << address;
    }
  }
}

TEST_F(Security, ServersOfOthersAreNotTalkedTo) {
  const ServerProcess server({"127.0.0.1:0"}, ServerFlags(ca_.Sign(1)));
  const auto call = [&](const ClientOptions& options) {
    return CallAll(server.address(), options).code();
  };
  const TlsOptions right{.ca_file = ca_file_};
  EXPECT_EQ(call({.tls = right}), StatusCode::kOk);
  EXPECT_EQ(call({.tls = TlsOptions{.ca_file = client_ca_file_}}), StatusCode::kUnavailable);
  EXPECT_EQ(call({.tls = TlsOptions{}}), StatusCode::kUnavailable) << "this system's CAs";
  EXPECT_EQ(call({}), StatusCode::kUnavailable) << "in the clear";
  const ServerProcess clear;
  EXPECT_EQ(CallAll(clear.address(), {.tls = right}).code(), StatusCode::kUnavailable);
  EXPECT_EQ(call({.tls = right}), StatusCode::kOk);
}

TEST_F(Security, TheCertificateMustBeForTheServersName) {
  const ServerProcess local({"127.0.0.1:0"}, ServerFlags(ca_.Sign(1)));
  const ServerProcess named({"127.0.0.1:0"}, ServerFlags(ca_.SignFor("DNS:loss.example")));
  const auto call = [&](const ServerProcess& server, const std::string& name) {
    return CallAll(server.address(), {.tls = TlsOptions{.ca_file = ca_file_, .server_name = name}})
        .code();
  };
  EXPECT_EQ(call(local, ""), StatusCode::kOk);
  EXPECT_EQ(call(local, "localhost"), StatusCode::kOk);
  EXPECT_EQ(call(local, "loss.example"), StatusCode::kUnavailable);
  EXPECT_EQ(call(named, ""), StatusCode::kUnavailable);
  EXPECT_EQ(call(named, "localhost"), StatusCode::kUnavailable);
  EXPECT_EQ(call(named, "loss.example"), StatusCode::kOk);
}

TEST_F(Security, MutualTlsAsksForACertificateOfTheRightCa) {
  std::vector<std::string> flags = ServerFlags(ca_.Sign(1));
  flags.push_back("--tls-client-ca=" + client_ca_file_);
  const ServerProcess server({"127.0.0.1:0"}, flags);
  const auto call = [&](const TlsOptions& tls) {
    return CallAll(server.address(), {.tls = tls}).code();
  };
  EXPECT_EQ(call({.ca_file = ca_file_}), StatusCode::kUnavailable) << "no certificate";
  EXPECT_EQ(call(Mutual(Authority("clients"))), StatusCode::kUnavailable) << "another CA";
  EXPECT_EQ(call(Mutual(client_ca_)), StatusCode::kOk);
}

// ---------------------------------------------------------------------------------------- tokens

TEST_F(Security, TokensLetInOverTlsAndOnThisMachine) {
  const std::string tokens = Put("tokens", "one\ntwo\n");
  const std::string flag = "--auth-token-file=" + tokens;
  const ServerProcess clear({"127.0.0.1:0", "unix:" + scratch_.Path("socket")}, {kQuiet, flag});
  std::vector<std::string> flags = ServerFlags(ca_.Sign(1));
  flags.push_back(flag);
  const ServerProcess encrypted({"127.0.0.1:0"}, flags);
  struct Way {
    std::string address;
    std::optional<TlsOptions> tls;
  };
  for (const Way& way : {Way{clear.addresses()[0], std::nullopt},
                         {clear.addresses()[1], std::nullopt},
                         {encrypted.address(), TlsOptions{.ca_file = ca_file_}}}) {
    const auto call = [&](ClientOptions options) {
      options.tls = way.tls;
      return CallAll(way.address, options);
    };
    EXPECT_TRUE(call({.token = "two"}).ok()) << way.address;
    EXPECT_TRUE(call({.token_file = Put("token", "\n# ours\n one \n")}).ok()) << way.address;
    const absl::Status none = call({});
    EXPECT_EQ(none.code(), StatusCode::kUnauthenticated) << none;
    EXPECT_THAT(std::string(none.message()), HasSubstr("has no token"));
    const absl::Status wrong = call({.token = "hush-hush"});
    EXPECT_EQ(wrong.code(), StatusCode::kUnauthenticated) << wrong;
    EXPECT_THAT(std::string(wrong.message()), Not(HasSubstr("hush")));
  }
}

TEST_F(Security, ANewTokenIsUsedByTheNextCall) {
  Put("tokens", "old");
  const std::string token_file = Put("token", "old");
  const ServerProcess server({"127.0.0.1:0"},
                             {kQuiet, "--auth-token-file=" + scratch_.Path("tokens")});
  absl::StatusOr<Client> client =
      Client::Connect(server.address(), {.retry = {.max_attempts = 1}, .token_file = token_file});
  ASSERT_TRUE(client.ok()) << client.status();
  // The server looks at its file from time to time.
  const auto server_takes = [&](const std::string& token) {
    Put("tokens", token);
    const absl::Time end = absl::Now() + absl::Seconds(30);
    absl::StatusOr<Client> other = Client::Connect(server.address(), {.token = token});
    while (!other->GetServerInfo().ok()) {
      if (absl::Now() > end) return false;
    }
    return true;
  };
  EXPECT_TRUE(CallAll(*client).ok());
  ASSERT_TRUE(server_takes("new"));
  EXPECT_EQ(CallAll(*client).code(), StatusCode::kUnauthenticated);
  Put("token", "new");
  EXPECT_TRUE(CallAll(*client).ok());

  // What cannot be used leaves the last one in use, and is blamed when that is refused.
  Put("token", "hush hush");
  EXPECT_TRUE(CallAll(*client).ok());
  std::filesystem::remove(token_file);
  EXPECT_TRUE(CallAll(*client).ok());
  ASSERT_TRUE(server_takes("newest"));
  absl::Status refused = CallAll(*client);
  EXPECT_EQ(refused.code(), StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("(it was read earlier: token_file " + token_file + ": No such file"));
  Put("token", "hush hush");
  refused = CallAll(*client);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("line 1 has a blank"), Not(HasSubstr("hush"))));
  Put("token", "newest");
  EXPECT_TRUE(CallAll(*client).ok());
}

// gRPC would go to a proxy, with what is in the clear, even when the target is this machine. That a
// proxy is asked for another machine is shown by client_grpc.
TEST_F(Security, NothingInTheClearIsSentToAProxy) {
  const ServerProcess server({"127.0.0.1:0"},
                             {kQuiet, "--auth-token-file=" + Put("tokens", "one")});
  for (const char* const name : {"no_grpc_proxy", "no_proxy"}) unsetenv(name);
  setenv("grpc_proxy", "http://127.0.0.1:1", 1);  // nobody listens there
  EXPECT_EQ(CallAll(server.address(), {}).code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(CallAll(server.address(), {.token = "one"}).ok());
  unsetenv("grpc_proxy");
}

}  // namespace
}  // namespace lossd
