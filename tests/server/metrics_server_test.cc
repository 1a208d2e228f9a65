#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "server/admission/refusal.h"
#include "server/listen/listen_address.h"
#include "server/metrics/metrics_server.h"
#include "tests/server/harness.h"
#include "tests/server/raw_http2.h"
#include "tests/server/raw_socket.h"
#include "tests/server/scrape.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

// Metrics as they are read from a running server.
namespace lossd::testing {
namespace {

using std::chrono_literals::operator""ms;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

ServerOptions WithMetrics() {
  ServerOptions options = AnyPort();
  options.metrics_listen = "127.0.0.1:0";
  return options;
}

// After every call that a client has seen the end of.
Samples ScrapeIdle(const Server& server) {
  WaitUntil([&] { return server.live_calls() == 0; });
  return Scrape(server.metrics_address());
}

double CallsIn(const Samples& samples) {
  double calls = 0;
  for (const auto& [series, value] : samples) {
    if (series.starts_with("lossd_requests_total{")) calls += value;
  }
  return calls;
}

grpc::StatusCode Compute(v1::LossService::Stub& stub, const v1::ComputeRequest& request,
                         v1::ComputeResponse* response) {
  grpc::ClientContext context;
  return stub.Compute(&context, request, response).error_code();
}

// One of each: a call that goes well and one that does not, of every method.
void MakeCalls(const Server& server) {
  const auto stub = StubFor(server);
  const Problem problem(8, 16);
  v1::ComputeResponse response;
  EXPECT_EQ(Compute(*stub, problem.Request(), &response), grpc::StatusCode::OK);
  EXPECT_EQ(Compute(*stub, {}, &response), grpc::StatusCode::INVALID_ARGUMENT);
  {
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    BeginStream(problem, *stream);
    EXPECT_TRUE(stream->Write(problem.Block(1, 7)));
    stream->WritesDone();
    EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
  }
  {
    grpc::ClientContext context;
    const auto stream = stub->ComputeStream(&context);
    BeginStream(problem, *stream);
    context.TryCancel();
    EXPECT_FALSE(ReadAll(problem, *stream).status.ok());
  }
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_TRUE(stub->GetServerInfo(&context, {}, &info).ok());
}

// ---------------------------------------------------------------------------------- what counts

TEST(Metrics, CallsAreCountedByMethodLossAndCode) {
  const auto server = StartServer(WithMetrics());
  MakeCalls(*server);
  const Samples samples = ScrapeIdle(*server);
  for (const char* one : {R"(method="Compute",loss="softmax",code="OK")",
                          R"(method="Compute",loss="none",code="INVALID_ARGUMENT")",
                          R"(method="ComputeStream",loss="softmax",code="OK")",
                          R"(method="ComputeStream",loss="softmax",code="CANCELLED")",
                          R"(method="GetServerInfo",loss="none",code="OK")"}) {
    EXPECT_THAT(samples, Contains(Pair("lossd_requests_total{" + std::string(one) + "}", 1)));
  }
  double all = 0;
  for (const auto& [name, value] : samples) {
    if (name.starts_with("lossd_requests_total{")) all += value;
  }
  EXPECT_EQ(all, 5);
}

TEST(Metrics, BytesAndPhasesOfACallAreObserved) {
  const auto server = StartServer(WithMetrics());
  const Problem problem(64, 32);
  const v1::ComputeRequest request = problem.Request();
  v1::ComputeResponse response;
  EXPECT_EQ(Compute(*StubFor(*server), request, &response), grpc::StatusCode::OK);
  const Samples samples = ScrapeIdle(*server);
  EXPECT_THAT(samples, Contains(Pair(R"(lossd_request_size_bytes_sum{method="Compute"})",
                                     request.ByteSizeLong())));
  EXPECT_THAT(samples, Contains(Pair(R"(lossd_response_size_bytes_sum{method="Compute"})",
                                     response.ByteSizeLong())));
  double phases = 0;
  for (const char* phase : {"queue_seconds", "compute_seconds", "download_seconds"}) {
    const std::string labels = std::string(phase) == "compute_seconds"
                                   ? R"({method="Compute",loss="softmax"})"
                                   : R"({method="Compute"})";
    const std::string name = std::string("lossd_request_") + phase;
    EXPECT_THAT(samples, Contains(Pair(name + "_count" + labels, 1)));
    EXPECT_THAT(samples, Contains(Pair(name + "_sum" + labels, Gt(0))));
    phases += samples.at(name + "_sum" + labels);
  }
  EXPECT_LE(phases, samples.at(R"(lossd_request_duration_seconds_sum{method="Compute"})"));
}

// Time that the server waits for a client is nobody's but the client's.
TEST(Metrics, AStreamThatIsWaitedForTakesUploadTime) {
  const auto server = StartServer(WithMetrics());
  const Problem problem(8, 16);
  grpc::ClientContext context;
  const auto begin = std::chrono::steady_clock::now();
  const auto stream = StubFor(*server)->ComputeStream(&context);
  BeginStream(problem, *stream);
  const auto since = std::chrono::steady_clock::now();
  const std::chrono::milliseconds pause(60);
  WaitUntil([&] { return std::chrono::steady_clock::now() - since > pause; });
  EXPECT_TRUE(stream->Write(problem.Block(1, 7)));
  stream->WritesDone();
  EXPECT_TRUE(ReadAll(problem, *stream).status.ok());
  const std::chrono::duration<double> busy = std::chrono::steady_clock::now() - begin - pause;
  const Samples samples = ScrapeIdle(*server);
  EXPECT_GE(samples.at(R"(lossd_request_upload_seconds_sum{method="ComputeStream"})"), 0.055);
  EXPECT_GT(samples.at(R"(lossd_request_download_seconds_sum{method="ComputeStream"})"), 0);
  EXPECT_LT(
      samples.at(R"(lossd_request_compute_seconds_sum{method="ComputeStream",loss="softmax"})"),
      busy.count());
}

TEST(Metrics, RefusalsAreCountedByReason) {
  ServerOptions options = WithMetrics();
  options.limits.max_unary_bytes = kMessageBytes.least;
  const auto server = StartServer(options);
  v1::ComputeResponse response;
  const Samples before = ScrapeIdle(*server);
  for (int i = 0; i < kRefusals; ++i) {
    const std::string reason(TokenOf(static_cast<Refusal>(i)));
    EXPECT_THAT(before,
                Contains(Pair("lossd_requests_rejected_total{reason=\"" + reason + "\"}", 0)));
  }
  EXPECT_EQ(Compute(*StubFor(*server), Problem(64, 32).Request(), &response),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Samples samples = ScrapeIdle(*server);
  EXPECT_THAT(samples, Contains(Pair(R"(lossd_requests_rejected_total{reason="TOO_LARGE"})", 1)));
  EXPECT_THAT(
      samples,
      Contains(Pair(
          R"(lossd_requests_total{method="Compute",loss="none",code="RESOURCE_EXHAUSTED"})", 1)));
}

double Rejected(const Server& server, const std::string& reason) {
  return Scrape(server.metrics_address())
      .at("lossd_connections_rejected_total{reason=\"" + reason + "\"}");
}

TEST(Metrics, ConnectionsThatAreTurnedAwayAreCountedByReason) {
  ServerOptions options = WithMetrics();
  options.connections.max_connections = 2;
  options.connections.handshake_timeout = absl::Seconds(2);  // the two that greet have it, too
  const auto server = StartServer(options);
  const std::string& address = server->addresses().front();
  for (const char* reason : {"TOO_MANY_CONNECTIONS", "SILENT", "PEER_QUOTA", "UNEXPLAINED_BYTES",
                             "GAVE_WAY", "BAD_PROXY_HEADER", "HEADER_BLOCK"}) {
    EXPECT_EQ(Rejected(*server, reason), 0) << reason;
  }
  {
    const RawSocket closed(address);  // by its client: that is not turned away
  }
  const RawSocket silent(address);
  EXPECT_TRUE(silent.WaitForClose());
  EXPECT_EQ(Rejected(*server, "SILENT"), 1);
  const RawSocket first(address);
  const RawSocket second(address);
  for (const RawSocket* const one : {&first, &second}) one->Send(kHttp2Begin);
  WaitUntil([&] { return server->connections() == 2; });
  const RawSocket third(address);
  EXPECT_TRUE(third.WaitForClose());
  EXPECT_EQ(Rejected(*server, "TOO_MANY_CONNECTIONS"), 1);
  EXPECT_EQ(Rejected(*server, "PEER_QUOTA"), 0);
}

TEST(Metrics, GaugesFollowWhatIsHeld) {
  ServerOptions options = WithMetrics();
  options.memory_budget = int64_t{1} << 30;
  options.connections.max_connections = 17;
  options.threads = 3;
  const auto server = StartServer(options);
  const Problem problem(8, 16);
  {
    grpc::ClientContext context;
    const auto channel = Connect(server->addresses().front());
    const auto stream = v1::LossService::NewStub(channel)->ComputeStream(&context);
    BeginStream(problem, *stream);
    const Samples samples = Scrape(server->metrics_address());
    EXPECT_EQ(samples.at("lossd_requests_in_flight"), 1);
    EXPECT_GT(samples.at("lossd_memory_granted_bytes"), 0);
    EXPECT_EQ(samples.at("lossd_connections"), 1);
    stream->WritesDone();
    ReadAll(problem, *stream);
  }
  WaitUntil([&] { return server->connections() == 0; });
  const Samples samples = ScrapeIdle(*server);
  EXPECT_THAT(
      samples,
      IsSupersetOf({Pair("lossd_requests_in_flight", 0), Pair("lossd_requests_queued", 0),
                    Pair("lossd_memory_granted_bytes", 0),
                    Pair("lossd_memory_budget_bytes", 1 << 30), Pair("lossd_connections", 0),
                    Pair("lossd_connections_limit", 17), Pair("lossd_compute_threads", 3),
                    Pair(R"(lossd_output_pool_bytes{state="loaned"})", 0)}));
  EXPECT_GT(samples.at("process_resident_memory_bytes"), 1 << 20);
}

// ------------------------------------------------------------------------------- what is not there

// Whatever callers send, there is not a series more, and nothing of it in the text.
TEST(Metrics, CallersLeaveNothingBehind) {
  const TempDir scratch;
  ServerOptions options = WithMetrics();
  options.auth_token_file = scratch.Write("tokens", "hush-hush-0123456789\n");
  const auto server = StartServer(options);
  const std::string info = "/lossd.v1.LossService/GetServerInfo";
  const auto call = [&](const std::string& text) {
    RawHttp2Call(server->addresses().front(), info, {{"authorization", "Bearer " + text}});
    RawHttp2Call(server->addresses().front(), info, {{"x-request-id", text}});
    RawHttp2Call(server->addresses().front(), "/" + text, {});
  };
  call("hush-hush-0123456789");
  WaitUntil([&] { return CallsIn(ScrapeIdle(*server)) == 3; });
  const size_t series = ScrapeIdle(*server).size();
  for (int i = 0; i < 20; ++i) call("hush-hush-forged\"} 1\n" + std::to_string(i));
  EXPECT_EQ(ScrapeIdle(*server).size(), series);
  const std::string text = ScrapeText(server->metrics_address());
  EXPECT_THAT(text, AllOf(Not(HasSubstr("hush")), Not(HasSubstr("127.0.0.1")),
                          Not(HasSubstr("localhost"))));
  EXPECT_THAT(text, HasSubstr(R"(code="UNAUTHENTICATED")"));
}

// ------------------------------------------------------------------------------------- the port

TEST(MetricsPort, HasMetricsAndNothingElse) {
  const auto server = StartServer(WithMetrics());
  const std::string& address = server->metrics_address();
  EXPECT_THAT(Http(address, "GET /metrics"),
              HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(Http(address, "GET /metrics?debug=1"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Http(address, "HEAD /metrics"), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(BodyOf(Http(address, "HEAD /metrics")), "");
  for (const char* path : {"/", "/metrics/", "/../metrics", "/etc/passwd"}) {
    EXPECT_THAT(Http(address, "GET " + std::string(path)), StartsWith("HTTP/1.1 404 ")) << path;
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "BREW"}) {
    EXPECT_THAT(Http(address, method + std::string(" /metrics")), StartsWith("HTTP/1.1 405 "))
        << method;
  }
  EXPECT_THAT(Http(address, "GET /" + std::string(100'000, 'x')), Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(Http(address, "\x16\x03\x01 nonsense"), Not(StartsWith("HTTP/1.1 200")));
  EXPECT_THAT(Http(address, "GET /metrics"), StartsWith("HTTP/1.1 200 "));
}

// Connects from an address of loopback, as another host would, and begins a request.
RawSocket SlowScraper(const std::string& address, const std::string& from) {
  RawSocket socket(address, from);
  socket.Send("GET /metrics HTTP/1.1\r\nX: ");
  return socket;
}

// Slow ones of two addresses, more than may be connected of them, then of very many.
TEST(MetricsPort, SlowConnectionsDoNotKeepOthersFromReading) {
  const auto server = StartServer(WithMetrics());
  const std::string& address = server->metrics_address();
  std::vector<RawSocket> slow;
  slow.reserve(200);
  const auto scrapes_at_once = [&] {
    for (const RawSocket& one : slow) one.Send("a");
    const auto since = std::chrono::steady_clock::now();
    ScrapeText(address);
    return std::chrono::steady_clock::now() - since < std::chrono::seconds(2);
  };
  for (int i = 0; i < 16; ++i) {
    slow.push_back(SlowScraper(address, i % 2 == 0 ? "127.0.0.2" : "127.0.0.3"));
  }
  EXPECT_TRUE(scrapes_at_once());
  while (slow.size() < 200) {
    slow.push_back(SlowScraper(address, "127.0.1." + std::to_string(slow.size())));
  }
  EXPECT_TRUE(scrapes_at_once());
  for (int i = 0; i < 40; ++i) slow.push_back(SlowScraper(address, "127.0.0.1"));
  EXPECT_TRUE(scrapes_at_once());
}

class NoMetrics final : public prometheus::Collectable {
  std::vector<prometheus::MetricFamily> Collect() const override { return {}; }
};

// One that says something now and then, so that it is never silent for long.
TEST(MetricsPort, ARequestHasAnEnd) {
  const absl::StatusOr<ListenAddress> any = ListenAddress::Parse("127.0.0.1:0");
  absl::StatusOr<std::vector<ListenSocket>> sockets = any->Listen();
  ASSERT_TRUE(sockets.ok());
  const std::string address = any->WithPort(sockets->front().Port());
  const NoMetrics none;
  const auto server =
      MetricsServer::Start(*std::move(sockets), &none, {.all = 2, .of_address = 2, .time = 200ms});
  ASSERT_TRUE(server.ok()) << server.status();
  const RawSocket slow = SlowScraper(address, "127.0.0.2");
  WaitUntil([&] {
    slow.Send("a");
    return slow.Closed();
  });
  EXPECT_THAT(Http(address, "GET /metrics"), StartsWith("HTTP/1.1 200 "));
}

// The second request of a connection is one too many.
TEST(MetricsPort, AnswersOnceAConnection) {
  const auto server = StartServer(WithMetrics());
  EXPECT_THAT(Http(server->metrics_address(), "GET /metrics"), HasSubstr("Connection: close\r\n"));
  const RawSocket twice(server->metrics_address());
  twice.Send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(twice.WaitForClose());
}

TEST(MetricsPort, IsServedToTheEndOfADrain) {
  const auto server = StartServer(WithMetrics());
  server->Drain(absl::ZeroDuration());
  EXPECT_EQ(Scrape(server->metrics_address()).at("lossd_requests_in_flight"), 0);
}

TEST(MetricsPort, IsNotSharedAndNotServedUnlessAskedFor) {
  const auto first = StartServer(WithMetrics());
  ServerOptions options = WithMetrics();
  options.metrics_listen = first->metrics_address();
  const auto second = Server::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("cannot listen on " + first->metrics_address()));
  EXPECT_EQ(StartServer()->metrics_address(), "");
}

// ---------------------------------------------------------------------------- others' opinions

TEST(Metrics, PromtoolHasNothingToSay) {
  if (std::string(PROMTOOL).empty()) GTEST_SKIP() << "promtool is not installed";
  const auto server = StartServer(WithMetrics());
  MakeCalls(*server);
  WaitUntil([&] { return server->live_calls() == 0; });
  const TempDir scratch;
  const std::string text = scratch.Write("metrics", ScrapeText(server->metrics_address()));
  const std::string told = scratch.Path("told");
  const std::string command = PROMTOOL " check metrics <" + text + " >" + told + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(ReadWhole(told), "");
}

// Where a Prometheus that is starting says it listens.
std::string ListeningAddress(Process& prometheus) {
  while (const std::optional<std::string> line = prometheus.ReadLine()) {
    const size_t address = line->find(" address=");
    if (line->find("\"Listening on\"") != std::string::npos && address != std::string::npos) {
      return line->substr(address + 9);
    }
  }
  ADD_FAILURE() << "prometheus does not say where it listens";
  return "127.0.0.1:1";
}

TEST(Metrics, PrometheusReadsThem) {
  if (std::string(PROMETHEUS).empty()) GTEST_SKIP() << "prometheus is not installed";
  const auto server = StartServer(WithMetrics());
  MakeCalls(*server);
  WaitUntil([&] { return server->live_calls() == 0; });
  const TempDir scratch;
  const std::string config =
      scratch.Write("prometheus.yml",
                    "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                    "scrape_configs: [{job_name: lossd, static_configs: [{targets: [\"" +
                        server->metrics_address() + "\"]}]}]\n");
  Process prometheus({"/bin/sh", "-c",
                      "exec " PROMETHEUS " --web.listen-address=127.0.0.1:0 --config.file=" +
                          config + " --storage.tsdb.path=" + scratch.Path("data") + " 2>&1"});
  const std::string address = ListeningAddress(prometheus);
  const auto ask = [&](const std::string& query) {
    return BodyOf(Http(address, "GET /api/v1/query?query=" + query));
  };
  std::string up;  // its sample is written with those of the first scrape, or instead of them
  WaitUntil([&] { return (up = ask("up")).find("\"value\"") != std::string::npos; });
  EXPECT_THAT(up, HasSubstr(",\"1\"]"));
  EXPECT_THAT(ask("lossd_requests_total%7Bcode=%22INVALID_ARGUMENT%22%7D"),
              AllOf(HasSubstr(R"("method":"Compute")"), HasSubstr(",\"1\"]")));
}

std::set<std::string> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern, std::regex::multiline);
  std::set<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    found.insert((*it)[1]);
  }
  return found;
}

TEST(Metrics, TheManualListsThemAll) {
  const auto server = StartServer(WithMetrics());
  MakeCalls(*server);
  WaitUntil([&] { return server->live_calls() == 0; });
  const std::string manual = ReadWhole(SOURCE_DIR "/docs/metrics.md");
  const std::set<std::string> served =
      Matches(ScrapeText(server->metrics_address()), "^# TYPE ([a-z_]+) ");
  EXPECT_EQ(Matches(manual.substr(0, manual.find("## Questions")), "`((?:lossd|process)_[a-z_]+)`"),
            served);
  EXPECT_GT(served.size(), 20);
}

}  // namespace
}  // namespace lossd::testing
