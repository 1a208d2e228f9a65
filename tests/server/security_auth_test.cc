#include <gmock/gmock.h>
#include <grpcpp/test/server_context_test_spouse.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "server/security/authenticator.h"
#include "tests/server/harness.h"
#include "tests/support/temp_dir.h"

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

  const TempDir scratch_;
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

// A context of a call that brings the token.
struct Bringing {
  explicit Bringing(const std::string& token) : metadata(&context) {
    metadata.AddClientMetadata("authorization", "Bearer " + token);
  }
  grpc::ServerContext context;
  grpc::testing::ServerContextTestSpouse metadata;
};

TEST_F(Tokens, StayWhileTheFileCannotBeUsed) {
  const auto authenticator = Authenticator::FromFile(Write(kToken));
  ASSERT_TRUE(authenticator.ok());
  const Bringing known(kToken);
  for (const char* unusable : {"two words", "other\ntwo words", "other name=\n"}) {
    Write(unusable);
    EXPECT_FALSE((*authenticator)->Reload().ok());
    EXPECT_TRUE((*authenticator)->Authenticate(known.context).ok());
  }
  std::filesystem::remove(path_);
  EXPECT_FALSE((*authenticator)->Reload().ok());
  EXPECT_TRUE((*authenticator)->Authenticate(known.context).ok());
  Write("other");
  EXPECT_TRUE((*authenticator)->Reload().ok());
  EXPECT_EQ((*authenticator)->Authenticate(known.context).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST_F(Tokens, AFileThatIsEmptiedTakesAllOfThemBack) {
  for (const char* none : {"", "\n \n", "# all were taken back\n"}) {
    const auto authenticator = Authenticator::FromFile(Write(kToken));
    ASSERT_TRUE(authenticator.ok());
    const Bringing known(kToken);
    Write(none);
    EXPECT_TRUE((*authenticator)->Reload().ok());
    EXPECT_TRUE((*authenticator)->AdmitsNobody());
    EXPECT_EQ((*authenticator)->Authenticate(known.context).status().code(),
              absl::StatusCode::kUnauthenticated);
    Write(kToken);
    EXPECT_TRUE((*authenticator)->Reload().ok());
    EXPECT_FALSE((*authenticator)->AdmitsNobody());
    EXPECT_TRUE((*authenticator)->Authenticate(known.context).ok());
  }
}

TEST_F(Tokens, AServerWhoseFileIsEmptiedAdmitsNobody) {
  const auto server = ServerWith(kToken);
  const std::string authorization = std::string("Bearer ") + kToken;
  EXPECT_TRUE(Call(*server, authorization).ok());
  Write("");
  WaitUntil([&] {
    return Call(*server, authorization).error_code() == grpc::StatusCode::UNAUTHENTICATED;
  });
}

TEST_F(Tokens, NameTheirHolders) {
  const auto authenticator = Authenticator::FromFile(
      Write("first name=trainer-a\n"
            "second\texpires=2999-12-31T23:59:59Z  name=trainer-a\n"
            "third name=spiffe://x/y_z.0@host expires=2999-12-31T23:59:59Z\n"
            "fourth\n"
            "first name=trainer-a\n"));
  ASSERT_TRUE(authenticator.ok()) << authenticator.status();
  for (const auto& [token, name] : {std::pair("first", "trainer-a"),
                                    {"second", "trainer-a"},
                                    {"third", "spiffe://x/y_z.0@host"},
                                    {"fourth", ""}}) {
    const Bringing call(token);
    const absl::StatusOr<std::string> caller = (*authenticator)->Authenticate(call.context);
    ASSERT_TRUE(caller.ok()) << token;
    EXPECT_EQ(*caller, name);
  }
}

TEST_F(Tokens, ExpireWhenTheyAreToldTo) {
  const absl::Time end = absl::FromCivil(absl::CivilDay(2026, 12, 31), absl::UTCTimeZone());
  absl::Time now = end - absl::Nanoseconds(1);
  const auto authenticator = Authenticator::FromFile(
      Write("brief expires=2026-12-31T00:00:00Z name=trainer-b\nlasting\n"), [&] { return now; });
  ASSERT_TRUE(authenticator.ok()) << authenticator.status();
  const Bringing brief("brief");
  const Bringing lasting("lasting");
  EXPECT_TRUE((*authenticator)->Authenticate(brief.context).ok());
  now = end;
  const absl::Status expired = (*authenticator)->Authenticate(brief.context).status();
  EXPECT_EQ(expired.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(expired.message(), "the token of the call expired at 2026-12-31T00:00:00Z");
  EXPECT_TRUE((*authenticator)->Authenticate(lasting.context).ok());
}

TEST_F(Tokens, AFileThatCannotBeUsedIsNamed) {
  struct Row {
    std::string text;
    std::string words;
  };
  const std::string bad_name = "has a name that is not 1 to 64 letters, digits and - . _ : / @";
  const std::string bad_time = "expires at something that is not a time such as 2026-12-31T00:00";
  for (const Row& row :
       {Row{"", "has no token"},
        {"# only\n\n# comments\n", "has no token"},
        {"good\nsecret of two words\n",
         "line 2 has a blank and then neither name=NAME nor expires"},
        {"secret\x01", "line 1 has a blank or a character"},
        {"good\nsecret" + std::string(4096, 'x'), "line 2 has more than 4096"},
        {std::string(2 << 20, 'x'), "larger than 1 MiB"},
        {"secret name=", "line 1 " + bad_name},
        {"secret name=secret\xc3\xa4", "line 1 " + bad_name},
        {"secret name=" + std::string(65, 'n'), "line 1 " + bad_name},
        {"secret name=a name=a", "line 1 has two names"},
        {"secret expires=2999-12-31T00:00:00Z expires=2999-12-31T00:00:00Z",
         "line 1 has two times"},
        {"secret expires=", "line 1 " + bad_time},
        {"secret expires=infinite-future", "line 1 " + bad_time},
        {"secret expires=2026-12-31", "line 1 " + bad_time},
        {"secret expires=2026-12-31T00:00:60Z", "line 1 " + bad_time},
        {"secret expires=2026-12-31T00:00:00+01:00", "line 1 " + bad_time},
        {"secret expires=2026-02-29T00:00:00Z", "line 1 " + bad_time},
        {"secret\n\nsecret name=a", "line 3 has the token of line 1 with another name or time"}}) {
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
