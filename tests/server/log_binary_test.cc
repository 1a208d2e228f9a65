#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "tests/server/harness.h"
#include "tests/server/raw_http2.h"
#include "tests/support/program.h"
#include "tests/support/temp_dir.h"

// What the real binary logs about calls that are right, wrong and hostile.
namespace lossd::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr char kInfoPath[] = "/lossd.v1.LossService/GetServerInfo";
constexpr char kToken[] = "hunter2-0123456789";

// A server with a log at level debug, and its lines after it has ended.
class LoggedServer {
 public:
  explicit LoggedServer(std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(),
                 {LOSSD_BINARY, "--listen=127.0.0.1:0", "--log-format=json", "--log-level=debug"});
    program_ = std::make_unique<Program>(flags);
    const std::string line = program_->ReadLine();
    address_ = line.substr(line.rfind(' ') + 1);
    stub_ = v1::LossService::NewStub(Connect(address_));
  }

  const std::string& address() const { return address_; }
  v1::LossService::Stub& stub() { return *stub_; }

  // The request id that comes back from a call with that metadata.
  std::string Call(const Headers& metadata, grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
    v1::GetServerInfoResponse response;
    const grpc::Status ended = stub_->GetServerInfo(&context, {}, &response);
    if (status != nullptr) *status = ended;
    const auto id = context.GetServerTrailingMetadata().find("x-request-id");
    if (id == context.GetServerTrailingMetadata().end()) return "";
    return std::string(id->second.data(), id->second.size());
  }

  // Every line is an object with time, level and event, and made of visible characters.
  std::vector<nlohmann::json> Stop() {
    program_->Signal(SIGTERM);
    EXPECT_EQ(program_->Wait(), 0);
    std::vector<std::string> lines = absl::StrSplit(program_->err(), '\n');
    EXPECT_EQ(lines.back(), "");
    lines.pop_back();
    std::vector<nlohmann::json> parsed;
    for (const std::string& line : lines) {
      EXPECT_TRUE(
          std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; }));
      parsed.push_back(nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false));
      EXPECT_TRUE(parsed.back().is_object()) << line;
      EXPECT_THAT(parsed.back().value("time", ""), MatchesRegex("2...-..-..T..:..:..[.]......Z"));
      EXPECT_NE(parsed.back().value("level", ""), "");
      EXPECT_NE(parsed.back().value("event", ""), "");
    }
    return parsed;
  }
  const std::string& err() const { return program_->err(); }

 private:
  std::unique_ptr<Program> program_;
  std::string address_;
  std::unique_ptr<v1::LossService::Stub> stub_;
};

std::vector<nlohmann::json> Of(const std::vector<nlohmann::json>& lines, const std::string& event) {
  std::vector<nlohmann::json> some;
  for (const nlohmann::json& line : lines) {
    if (line.at("event") == event) some.push_back(line);
  }
  return some;
}

absl::Time TimeOf(const nlohmann::json& line) {
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, line.value("time", ""), &time, nullptr));
  return time;
}

TEST(LogBinary, StartDrainAndExitAreTold) {
  LoggedServer server;
  const std::vector<nlohmann::json> lines = server.Stop();
  ASSERT_THAT(Of(lines, "start"), SizeIs(1));
  EXPECT_NE(Of(lines, "start")[0].value("version", ""), "");
  ASSERT_THAT(Of(lines, "drain"), SizeIs(1));
  EXPECT_EQ(Of(lines, "drain")[0].value("signal", ""), "SIGTERM");
  ASSERT_THAT(lines, Not(IsEmpty()));
  EXPECT_EQ(lines.back().at("event"), "exit");
}

TEST(LogBinary, ACallIsOneLineWithItsRequestId) {
  LoggedServer server;
  EXPECT_EQ(server.Call({{"x-request-id", "step-17/rank-3"}}), "step-17/rank-3");
  const std::string made = server.Call({});
  EXPECT_THAT(made, MatchesRegex("[0-9a-f]{16}"));
  const std::vector<nlohmann::json> calls = Of(server.Stop(), "call");
  ASSERT_THAT(calls, SizeIs(2));
  // A line is written at a call's last event, which may come after the next call was answered.
  EXPECT_THAT((std::vector<std::string>{calls[0].at("request_id"), calls[1].at("request_id")}),
              UnorderedElementsAre("step-17/rank-3", made));
  for (const nlohmann::json& call : calls) {
    EXPECT_EQ(call.at("level"), "debug");
    EXPECT_EQ(call.at("method"), "GetServerInfo");
    EXPECT_EQ(call.at("code"), "OK");
    EXPECT_GE(call.at("duration_us"), 0);
    EXPECT_EQ(call.at("request_bytes"), 0);
    EXPECT_GT(call.at("response_bytes"), 0);
  }
}

TEST(LogBinary, AStreamIsOneLineToo) {
  LoggedServer server;
  const Problem problem(4, 8);
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "stream");
  const auto stream = server.stub().ComputeStream(&context);
  BeginStream(problem, *stream);
  stream->Write(problem.Block(1, 3));
  stream->WritesDone();
  EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
  const std::vector<nlohmann::json> calls = Of(server.Stop(), "call");
  ASSERT_THAT(calls, SizeIs(1));
  EXPECT_EQ(calls[0].at("request_id"), "stream");
  EXPECT_EQ(calls[0].at("method"), "ComputeStream");
  EXPECT_EQ(calls[0].at("code"), "OK");
  EXPECT_GT(calls[0].at("request_bytes"), 4 * 8 * 4);
  EXPECT_GT(calls[0].at("response_bytes"), 4 * 8 * 4);
}

TEST(LogBinary, AStreamThatIsBrokenOffIsToldAsCancelled) {
  LoggedServer server;
  const Problem problem(4, 8);
  {
    grpc::ClientContext context;
    const auto stream = server.stub().ComputeStream(&context);
    BeginStream(problem, *stream);
    context.TryCancel();
    EXPECT_FALSE(ReadAll(problem, *stream).status.ok());
  }
  const std::vector<nlohmann::json> calls = Of(server.Stop(), "call");
  ASSERT_THAT(calls, SizeIs(1));
  EXPECT_EQ(calls[0].at("code"), "CANCELLED");
  EXPECT_EQ(calls[0].at("level"), "info");
}

// A label of the request is in the error, which goes to who sent it, and not in the log.
TEST(LogBinary, ARefusalIsAWarningWithoutWhatWasSent) {
  LoggedServer server;
  const Problem problem(2, 3);
  v1::ComputeRequest request = problem.Request();
  const int64_t label = 7130717;
  std::string* const labels = request.mutable_class_indices()->mutable_data();
  labels->assign(reinterpret_cast<const char*>(&label), sizeof label);
  labels->append(sizeof label, '\0');
  grpc::ClientContext context;
  v1::ComputeResponse response;
  const grpc::Status status = server.stub().Compute(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("7130717"));
  const std::vector<nlohmann::json> calls = Of(server.Stop(), "call");
  ASSERT_THAT(calls, SizeIs(1));
  EXPECT_EQ(calls[0].at("level"), "warning");
  EXPECT_EQ(calls[0].at("code"), "INVALID_ARGUMENT");
  EXPECT_THAT(server.err(), Not(HasSubstr("7130717")));
}

TEST(LogBinary, TokensAndAddressesAreNeverTold) {
  const TempDir scratch;
  scratch.Write("tokens", std::string(kToken) + "\n");
  LoggedServer server({"--auth-token-file=" + scratch.Path("tokens")});
  grpc::Status status;
  EXPECT_NE(server.Call({{"authorization", std::string("Bearer ") + kToken}}, &status), "");
  EXPECT_TRUE(status.ok());
  EXPECT_NE(server.Call({{"authorization", "Bearer wrong-s3cret"}}, &status), "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_NE(server.Call({}, &status), "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  const std::vector<nlohmann::json> lines = server.Stop();
  EXPECT_THAT(Of(lines, "call"), SizeIs(3));
  for (const char* secret : {kToken, "wrong-s3cret", "127.0.0.1"}) {
    EXPECT_THAT(server.err(), Not(HasSubstr(secret)));
  }
}

TEST(LogBinary, OtherRequestIdsAreReplaced) {
  LoggedServer server;
  const std::string longest(128, 'x');
  EXPECT_EQ(server.Call({{"x-request-id", longest}}), longest);
  EXPECT_THAT(server.Call({{"x-request-id", longest + "x"}}), MatchesRegex("[0-9a-f]{16}"));
  EXPECT_THAT(server.Call({{"x-request-id", "two words"}}), MatchesRegex("[0-9a-f]{16}"));
  EXPECT_THAT(server.Call({{"x-request-id", "a"}, {"x-request-id", "b"}}),
              MatchesRegex("[0-9a-f]{16}"));
  server.Stop();
}

// What no gRPC client would send: line ends, ESC and NUL in an id and in what gRPC parses itself.
TEST(LogBinary, ControlCharactersNeverReachTheLog) {
  LoggedServer server;
  constexpr char kHostile[] = "x\n{\"event\":\"forged\"}\r\x1b[2J\0\x9b";
  const std::string hostile(kHostile, sizeof kHostile - 1);
  RawHttp2Call(server.address(), kInfoPath, {{"x-request-id", hostile}});
  RawHttp2Call(server.address(), kInfoPath, {{"grpc-timeout", hostile}});
  RawHttp2Call(server.address(), "/" + hostile, {});
  RawHttp2Call(server.address(), kInfoPath, {{hostile, "value"}});
  EXPECT_NE(server.Call({}), "");
  const std::vector<nlohmann::json> lines = server.Stop();
  EXPECT_THAT(Of(lines, "forged"), IsEmpty());
  EXPECT_THAT(Of(lines, "call"), Not(IsEmpty()));
  EXPECT_THAT(Of(lines, "grpc"), Not(IsEmpty()));
  EXPECT_THAT(server.err(), Not(HasSubstr("127.0.0.1")));
  for (const nlohmann::json& line : lines) {
    for (const auto& [key, value] : line.items()) {
      if (!value.is_string()) continue;
      EXPECT_LE(value.get<std::string>().size(), 200) << key;
    }
  }
}

// Protobuf says so on standard error where nobody else takes it.
TEST(LogBinary, WhatProtobufComplainsOfIsALineLikeOthers) {
  LoggedServer server;
  StatusOf(Connect(server.address()), "/grpc.health.v1.Health/Check", HealthRequest("\xff\xfe"));
  server.Stop();  // looks at each line
}

TEST(LogBinary, AConnectionTooManyIsAWarning) {
  LoggedServer server({"--max-connections=1"});
  EXPECT_NE(server.Call({}), "");
  EXPECT_EQ(RawHttp2Call(server.address(), kInfoPath, {}), "");
  const std::vector<nlohmann::json> refused = Of(server.Stop(), "connection");
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].at("level"), "warning");
  EXPECT_EQ(refused[0].at("reason"), "too many connections");
}

// Of 2000 refused calls in whatever time it takes, no second has more than a hundred lines, and
// none is forgotten.
TEST(LogBinary, AFloodOfBadCallsIsLimitedAndCounted) {
  LoggedServer server;
  v1::ComputeResponse response;
  constexpr int kCalls = 2000;
  for (int i = 0; i < kCalls; ++i) {
    grpc::ClientContext context;
    EXPECT_EQ(server.stub().Compute(&context, {}, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  const std::vector<nlohmann::json> calls = Of(server.Stop(), "call");
  int64_t told = 0;
  int64_t lines = 0;
  for (const nlohmann::json& call : calls) {
    told += call.value("suppressed", int64_t{0});
    if (call.contains("method")) ++lines;
  }
  EXPECT_EQ(told + lines, kCalls);
  const absl::Duration took = TimeOf(calls.back()) - TimeOf(calls.front());
  EXPECT_LE(lines, 100 * (absl::ToInt64Seconds(took) + 2));
  EXPECT_GT(told, 0);
}

}  // namespace
}  // namespace lossd::testing
