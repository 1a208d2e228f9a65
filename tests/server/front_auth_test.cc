#include <gmock/gmock.h>
#include <grpcpp/test/server_context_test_spouse.h>
#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <string>

#include "server/front/authenticator.h"
#include "tests/lossctl/scratch.h"
#include "tests/server/harness.h"

// Bearer tokens: who may call, when it is decided, and what is said about it.
namespace lossd::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "correct-horse-battery-staple";

class Tokens : public ::testing::Test {
 protected:
  std::string Write(const std::string& text) {
    std::ofstream(path_) << text;
    return path_;
  }

  std::unique_ptr<Server> ServerWith(const std::string& text) {
    ServerOptions options = AnyPort();
    options.auth_token_file = Write(text);
    return StartServer(options);
  }

  const lossctl::Scratch scratch_;
  const std::string path_ = scratch_.Path("tokens");
};

grpc::Status Call(const Server& server, const std::optional<std::string>& authorization) {
  grpc::ClientContext context;
  if (authorization) context.AddMetadata("authorization", *authorization);
  v1::GetServerInfoResponse info;
  return StubFor(server)->GetServerInfo(&context, {}, &info);
}

TEST_F(Tokens, OneOfTheFileIsNeeded) {
  const auto server = ServerWith("# trainers\n\n  another-token\r\n" + std::string(kToken));
  for (const char* good : {"Bearer correct-horse-battery-staple", "bearer another-token"}) {
    const grpc::Status status = Call(*server, good);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  for (const std::optional<std::string>& bad :
       {std::optional<std::string>(), std::optional<std::string>(""),
        std::optional<std::string>("Bearer"), std::optional<std::string>("Bearer "),
        std::optional<std::string>("Bearer correct-horse-battery-stapl"),
        std::optional<std::string>("Bearer correct-horse-battery-staple2"),
        std::optional<std::string>("Bearer # trainers"), std::optional<std::string>(kToken),
        std::optional<std::string>("Basic correct-horse-battery-staple")}) {
    const grpc::Status status = Call(*server, bad);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << bad.value_or("none");
    EXPECT_THAT(status.error_message(), Not(HasSubstr("horse"))) << bad.value_or("none");
    EXPECT_THAT(status.error_message(), Not(HasSubstr(path_)));
  }
}

TEST_F(Tokens, TwoInOneCallAreRefused) {
  const auto server = ServerWith(kToken);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer guess");
  context.AddMetadata("authorization", std::string("Bearer ") + kToken);
  v1::GetServerInfoResponse info;
  EXPECT_EQ(StubFor(*server)->GetServerInfo(&context, {}, &info).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(Tokens, AreAskedForBeforeAMessageIsDecoded) {
  const auto server = ServerWith(kToken);
  EXPECT_EQ(StatusOf(Connect(server->addresses()[0]), "/lossd.v1.LossService/Compute",
                     "no protobuf at all")
                .error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  // A stream is over although its client has sent nothing but headers.
  grpc::ClientContext context;
  const auto stub = StubFor(*server);
  EXPECT_EQ(stub->ComputeStream(&context)->Finish().error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  WaitUntil([&] { return server->live_calls() == 0; });
}

TEST_F(Tokens, HealthNeedsNone) {
  const auto server = ServerWith(kToken);
  RawCall check(Connect(server->addresses()[0]), "/grpc.health.v1.Health/Check", "");
  EXPECT_EQ(check.Read(), kServing);
  EXPECT_TRUE(check.Finish().ok());
}

TEST_F(Tokens, ThatAreTakenOutOfTheFileDoNotCountAnyMore) {
  const auto server = ServerWith(std::string(kToken) + "\nother\n");
  EXPECT_TRUE(Call(*server, "Bearer correct-horse-battery-staple").ok());
  Write("# nothing that could be used");
  Write("other\nnew\n");
  WaitUntil([&] { return Call(*server, "Bearer new").ok(); });
  EXPECT_TRUE(Call(*server, "Bearer other").ok());
  EXPECT_EQ(Call(*server, "Bearer correct-horse-battery-staple").error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(Tokens, StayWhileTheFileCannotBeUsed) {
  const auto authenticator = Authenticator::FromFile(Write(kToken));
  ASSERT_TRUE(authenticator.ok());
  grpc::ServerContext context;
  grpc::testing::ServerContextTestSpouse metadata(&context);
  metadata.AddClientMetadata("authorization", std::string("Bearer ") + kToken);
  for (const char* unusable : {"", "two words", "other\ntwo words"}) {
    Write(unusable);
    EXPECT_FALSE((*authenticator)->Reload().ok());
    EXPECT_TRUE((*authenticator)->Authenticate(context).ok());
  }
  Write("other");
  EXPECT_TRUE((*authenticator)->Reload().ok());
  EXPECT_EQ((*authenticator)->Authenticate(context).code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(Tokens, AFileThatCannotBeUsedIsNamed) {
  struct Row {
    std::string text;
    std::string words;
  };
  for (const Row& row : {Row{"", "has no token"},
                         {"# only\n\n# comments\n", "has no token"},
                         {"good\nsecret of two words\n", "line 2 has a blank"},
                         {"secret\x01", "line 1 has a blank or a character"},
                         {"good\nsecret" + std::string(4096, 'x'), "line 2 has more than 4096"},
                         {std::string(2 << 20, 'x'), "larger than 1 MiB"}}) {
    const auto refused = Authenticator::FromFile(Write(row.text));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << row.words;
    const std::string message(refused.status().message());
    EXPECT_THAT(message, HasSubstr("--auth-token-file " + path_ + ": " + row.words));
    EXPECT_THAT(message, Not(HasSubstr("secret")));
  }
  EXPECT_THAT(std::string(Authenticator::FromFile("/nowhere/tokens").status().message()),
              HasSubstr("/nowhere/tokens: No such file"));
  EXPECT_THAT(std::string(Authenticator::FromFile("/tmp").status().message()),
              HasSubstr("/tmp: not a regular file"));
}

}  // namespace
}  // namespace lossd::testing
