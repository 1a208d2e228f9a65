// lossctl bench against real servers.
#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/program.h"

namespace lossd::lossctl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Json = nlohmann::json;

std::vector<std::string> BenchArguments(const std::string& server,
                                        const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {"bench", absl::StrCat("--server=", server)};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return arguments;
}

TEST(Bench, EveryLossTypeAndTransportIsAnsweredRight) {
  Service service;
  const std::string& address = service.addresses().front();
  const std::vector<std::string> rows[] = {
      {"--transport=unary"},
      {"--transport=stream", "--shape=7x11x5", "--concurrency=3"},
      {"--loss=nll", "--dtype=f64", "--inputs=3"},
      {"--loss=multinomial_logistic", "--dtype=bf16"},
      {"--dtype=f16", "--rate=2000", "--attempts=1"},
  };
  for (std::vector<std::string> flags : rows) {
    flags.insert(flags.end(), {"--calls=40", "--json"});
    if (flags[1] != "--shape=7x11x5") flags.push_back("--shape=33x17");
    const Outcome outcome = RunLossctl(BenchArguments(address, flags));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, IsEmpty());
    const Json json = Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
    ASSERT_FALSE(json.is_discarded()) << outcome.out;
    EXPECT_EQ(json["calls"]["right"], 40);
    EXPECT_EQ(json["well"], true);
  }
}

// A load that has begun: what it is was printed.
class Begun {
 public:
  Begun(const std::string& server, const std::vector<std::string>& flags)
      : program_(Command(server, flags)) {
    EXPECT_THAT(program_.ReadLine(), HasSubstr("server "));
  }
  Program& program() { return program_; }

 private:
  static std::vector<std::string> Command(const std::string& server,
                                          const std::vector<std::string>& flags) {
    std::vector<std::string> argv = BenchArguments(server, flags);
    argv.insert(argv.begin(), LOSSCTL_BINARY);
    return argv;
  }

  Program program_;
};

TEST(Bench, CtrlCEndsItWithTheReport) {
  Service service;
  Begun bench(absl::StrCat(service.addresses()[0], ",", service.addresses()[1]),
              {"--duration=1h", "--concurrency=2", "--shape=8x8"});
  bench.program().Signal(SIGINT);
  const int exit_code = bench.program().Wait();
  EXPECT_THAT(bench.program().out(), HasSubstr("0 failed (stopped early)"));
  EXPECT_LE(exit_code, 1);  // 1 where no call had ended
}

TEST(Bench, FailuresAreCountedByCodeAndDecideTheExitCode) {
  Service service({"--max-unary-bytes=4KiB"});
  const std::string& address = service.addresses().front();
  // Learning the answers is refused already: what is asked for is impossible, not unlucky.
  const Outcome outcome =
      RunLossctl(BenchArguments(address, {"--transport=unary", "--shape=100x1000", "--calls=10"}));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("RESOURCE_EXHAUSTED"));
  const Outcome nobody =
      RunLossctl(BenchArguments("unix:/nonexistent/socket", {"--attempts=1", "--calls=1"}));
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("UNAVAILABLE"));
}

TEST(Bench, AServerThatGoesIsSeen) {
  Service service;
  Begun bench(service.addresses()[0],
              {"--duration=1s", "--shape=4x4", "--attempts=1", "--concurrency=2"});
  EXPECT_EQ(service.Stop(), 0);
  EXPECT_EQ(bench.program().Wait(), 1);
  EXPECT_THAT(bench.program().out(), AllOf(HasSubstr(" 0 wrong, "), HasSubstr(" x UNAVAILABLE: ")));
}

// A server with its metrics on a port of their own.
class WatchedService {
 public:
  WatchedService() : service_({"--metrics-listen=127.0.0.1:0"}) {
    const std::string line = service_.NextLine();
    absl::string_view address = line;
    EXPECT_TRUE(absl::ConsumePrefix(&address, "lossd: metrics on ")) << line;
    metrics_ = std::string(address);
  }
  const std::string& address() const { return service_.addresses().front(); }
  const std::string& metrics() const { return metrics_; }

 private:
  Service service_;
  std::string metrics_;
};

TEST(Bench, TheServersShareOfTheTimeIsThatOfTheRunsCalls) {
  const WatchedService first;
  const WatchedService second;
  for (const char* transport : {"unary", "stream"}) {
    const Outcome outcome = RunLossctl(
        BenchArguments(absl::StrCat(first.address(), ",", second.address()),
                       {absl::StrCat("--metrics=", first.metrics(), ",", second.metrics()),
                        absl::StrCat("--transport=", transport), "--shape=33x17", "--calls=40",
                        "--concurrency=3", "--json"}));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    const Json json = Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
    ASSERT_FALSE(json.is_discarded()) << outcome.out;
    const Json& side = json["server_side"];
    EXPECT_EQ(side["calls"], 40) << side;
    for (const char* phase :
         {"queue_seconds", "upload_seconds", "compute_seconds", "whole_seconds"}) {
      EXPECT_EQ(side[phase]["calls"], 40) << side;
      EXPECT_GT(side[phase]["mean"], 0) << side;
      EXPECT_LE(side[phase]["p50"], side[phase]["p99"]) << side;
    }
    EXPECT_GE(side["whole_seconds"]["mean"], side["compute_seconds"]["mean"]) << side;
  }
}

TEST(Bench, MetricsThatAreNotThereAreSaidBeforeTheLoad) {
  const WatchedService service;
  // What answers there speaks gRPC.
  const Outcome wrong = RunLossctl(
      BenchArguments(service.address(), {absl::StrCat("--metrics=", service.address())}));
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.out, IsEmpty());
  EXPECT_THAT(wrong.err, AllOf(HasSubstr(absl::StrCat("http://", service.address(), "/metrics: ")),
                               HasSubstr("--metrics-listen")));
  const Outcome misspelt = RunLossctl(BenchArguments(service.address(), {"--metrics=host"}));
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_THAT(misspelt.err, HasSubstr("--metrics has 'host'; wanted host:port"));
}

}  // namespace
}  // namespace lossd::lossctl
