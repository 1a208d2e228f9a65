#include <gmock/gmock.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "tests/server/harness.h"
#include "tests/support/certificates.h"
#include "tests/support/program.h"
#include "tests/support/temp_dir.h"

// What the real binary writes down about who called.
namespace lossd::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kToken[] = "hunter2-0123456789";

class AuditedServer {
 public:
  explicit AuditedServer(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {LOSSD_BINARY, "--listen=127.0.0.1:0", "--audit-log=" + path()});
    program_ = std::make_unique<Program>(flags);
    const std::string line = program_->ReadLine();
    address_ = line.substr(line.rfind(' ') + 1);
  }

  const std::string& address() const { return address_; }
  std::string path() const { return scratch_.Path("audit.log"); }
  Program& program() { return *program_; }

  // By request id.
  std::map<std::string, nlohmann::json> Stop() {
    program_->Signal(SIGTERM);
    EXPECT_EQ(program_->Wait(), 0);
    text_ = ReadWhole(path());
    std::map<std::string, nlohmann::json> lines;
    for (const absl::string_view line : absl::StrSplit(text_, '\n', absl::SkipEmpty())) {
      nlohmann::json parsed = nlohmann::json::parse(std::string(line));
      const std::string id = parsed.at("request_id");
      EXPECT_TRUE(lines.emplace(id, std::move(parsed)).second) << id;
    }
    return lines;
  }
  const std::string& text() const { return text_; }

 private:
  const TempDir scratch_;
  std::unique_ptr<Program> program_;
  std::string address_;
  std::string text_;
};

using Stub = v1::LossService::Stub;

grpc::StatusCode Compute(Stub& stub, const v1::ComputeRequest& request, const std::string& id,
                         const std::string& token = "") {
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", id);
  if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  v1::ComputeResponse response;
  return stub.Compute(&context, request, &response).error_code();
}

TEST(AuditBinary, EveryCallIsALineWithItsCaller) {
  const TempDir scratch;
  const std::string tokens =
      scratch.Write("tokens", std::string(kToken) +
                                  " name=trainer-a\nnameless\nold expires=2020-01-01T00:00:00Z");
  AuditedServer server({"--auth-token-file=" + tokens});
  const auto stub = v1::LossService::NewStub(Connect(server.address()));
  const Problem problem(4, 8);
  v1::ComputeRequest wrong = problem.Request();
  wrong.clear_class_indices();
  EXPECT_EQ(Compute(*stub, problem.Request(), "good", kToken), grpc::StatusCode::OK);
  EXPECT_EQ(Compute(*stub, wrong, "bad", kToken), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Compute(*stub, problem.Request(), "plain", "nameless"), grpc::StatusCode::OK);
  EXPECT_EQ(Compute(*stub, problem.Request(), "guess", "guess"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Compute(*stub, problem.Request(), "expired", "old"), grpc::StatusCode::UNAUTHENTICATED);
  {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", "stream");
    context.AddMetadata("authorization", std::string("Bearer ") + kToken);
    const auto stream = stub->ComputeStream(&context);
    BeginStream(problem, *stream);
    EXPECT_TRUE(stream->Write(problem.Block(1, 3)));
    stream->WritesDone();
    EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
  }
  auto lines = server.Stop();
  ASSERT_THAT(lines, SizeIs(6));
  struct Row {
    const char* id;
    const char* identity;
    const char* method;
    const char* loss;
    const char* code;
  };
  for (const Row& row : {Row{"good", "trainer-a", "Compute", "softmax", "OK"},
                         {"bad", "trainer-a", "Compute", "softmax", "INVALID_ARGUMENT"},
                         {"plain", "", "Compute", "softmax", "OK"},
                         {"guess", "", "Compute", "", "UNAUTHENTICATED"},
                         {"expired", "", "Compute", "", "UNAUTHENTICATED"},
                         {"stream", "trainer-a", "ComputeStream", "softmax", "OK"}}) {
    const nlohmann::json& line = lines[row.id];
    EXPECT_EQ(line.at("identity"), row.identity) << row.id;
    EXPECT_EQ(line.at("method"), row.method) << row.id;
    if (std::string(row.id) != "bad") {
      EXPECT_EQ(line.at("loss"), row.loss) << row.id;
    }
    EXPECT_EQ(line.at("code"), row.code) << row.id;
    EXPECT_THAT(line.at("peer").get<std::string>(), StartsWith("ipv4:127.0.0.1:")) << row.id;
    EXPECT_GE(line.at("duration_us"), 0) << row.id;
  }
  EXPECT_EQ(lines["good"].at("bytes_in"), problem.Request().ByteSizeLong());
  EXPECT_GT(lines["good"].at("bytes_out"), 4 * 8 * 4);
  EXPECT_GT(lines["stream"].at("bytes_in"), 4 * 8 * 4);
  EXPECT_EQ(lines["guess"].at("bytes_in"), 0);
  for (const char* secret : {kToken, "guess\",\"peer", "nameless"}) {
    EXPECT_THAT(server.text(), Not(HasSubstr(secret)));
  }
}

// Of several alternative names the first; of a certificate without any, the common name; a token's
// name counts before both.
TEST(AuditBinary, ACertificateNamesItsHolder) {
  const TempDir scratch;
  const Authority ca("ca");
  const Identity own = ca.Sign(1);
  const std::string pem = scratch.Write("own.pem", own.certificate);
  const std::string key = scratch.Write("own.key", own.key);
  const std::string root = scratch.Write("ca.pem", ca.certificate());
  AuditedServer server({"--tls-cert=" + pem, "--tls-key=" + key, "--tls-client-ca=" + root});
  const Problem problem(4, 8);
  for (const std::string name : {"trainer-b.example", "spiffe"}) {
    const std::string names =
        name == "spiffe" ? "URI:spiffe://cluster/trainer-c" : "DNS:" + name + ",DNS:other.example";
    const Identity client = ca.SignFor(names);
    const auto channel = grpc::CreateChannel(
        server.address(), grpc::SslCredentials({ca.certificate(), client.key, client.certificate}));
    EXPECT_EQ(Compute(*v1::LossService::NewStub(channel), problem.Request(), name),
              grpc::StatusCode::OK);
  }
  auto lines = server.Stop();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines["trainer-b.example"].at("identity"), "trainer-b.example");
  EXPECT_EQ(lines["spiffe"].at("identity"), "spiffe://cluster/trainer-c");
}

TEST(AuditBinary, HangupGoesOnInANewFile) {
  AuditedServer server({});
  const auto stub = v1::LossService::NewStub(Connect(server.address()));
  const Problem problem(4, 8);
  EXPECT_EQ(Compute(*stub, problem.Request(), "first"), grpc::StatusCode::OK);
  const std::string old = server.path() + ".1";
  WaitUntil([&] { return std::filesystem::file_size(server.path()) > 0; });
  std::filesystem::rename(server.path(), old);
  server.program().Signal(SIGHUP);
  WaitUntil([&] { return std::filesystem::exists(server.path()); });
  EXPECT_EQ(Compute(*stub, problem.Request(), "second"), grpc::StatusCode::OK);
  auto lines = server.Stop();
  EXPECT_THAT(lines, SizeIs(1));
  EXPECT_EQ(lines.count("second"), 1);
  EXPECT_THAT(ReadWhole(old), HasSubstr("\"first\""));
}

TEST(AuditBinary, AFileThatCannotBeWrittenExits2) {
  Program program({LOSSD_BINARY, "--listen=127.0.0.1:0", "--audit-log=/nowhere/audit"});
  EXPECT_EQ(program.Wait(), 2);
  EXPECT_EQ(program.err(), "lossd: --audit-log /nowhere/audit: No such file or directory\n");
}

}  // namespace
}  // namespace lossd::testing
