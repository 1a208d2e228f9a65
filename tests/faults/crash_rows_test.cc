// Rows 36 and 46: servers that die, stand still and come back while many call, and what becomes of
// every single call.
#include <signal.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"

namespace lossd {
namespace {

using ::testing::IsEmpty;

// Calls of both kinds, several at a time on one client, each with memory of its own. Each must be
// over exactly once, and, where it went well, with the right answer to the bit.
class Traffic {
 public:
  explicit Traffic(const std::string& target)
      : client_(*Client::Connect(target, {.block_bytes = 100'000})) {
    for (int i = 0; i < kCallers; ++i) threads_.emplace_back([this, i] { Run(i); });
  }
  ~Traffic() { Stop(); }

  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // Returns when `count` more calls went well.
  void Await(int count) {
    const int wanted = right_ + count;
    EXPECT_TRUE(HoldsWithin(absl::Seconds(60), [&] { return right_ >= wanted; }));
  }

  int begun() const { return begun_; }
  int over() const { return over_; }
  std::vector<std::string> faults() {
    const std::lock_guard lock(mutex_);
    return faults_;
  }

 private:
  static constexpr int kCallers = 4;

  void Run(int caller) {
    const testing::Problem problem(caller % 2 == 0 ? 20 : 1500, 100);
    const auto mode = caller % 2 == 0 ? TransferMode::kUnary : TransferMode::kStream;
    const LossInputs inputs = problem.Inputs();
    while (!stop_) {
      std::vector<float> gradient(problem.gradient.size());
      std::atomic<int> completions{0};
      ++begun_;
      std::promise<absl::StatusOr<LossResult>> answer;
      client_.ComputeAsync({}, inputs, {.gradient = BytesOf<float>(absl::MakeSpan(gradient))},
                           {.mode = mode}, [&](absl::StatusOr<LossResult> result) {
                             if (++completions == 1) answer.set_value(std::move(result));
                           });
      const absl::StatusOr<LossResult> result = answer.get_future().get();
      ++over_;
      if (!result.ok()) {
        Note(result.status().ToString());
      } else if (std::memcmp(gradient.data(), problem.gradient.data(),
                             gradient.size() * sizeof(float)) != 0 ||
                 result->loss != problem.result.loss || !(result->exact == problem.result.exact)) {
        Note("the answer differs from the core's");
      } else {
        ++right_;
      }
      if (completions != 1) Note(absl::StrCat("a call was over ", completions.load(), " times"));
    }
  }

  void Note(const std::string& fault) {
    const std::lock_guard lock(mutex_);
    faults_.push_back(fault);
  }

  Client client_;
  std::atomic<bool> stop_{false};
  std::atomic<int> begun_{0};
  std::atomic<int> over_{0};
  std::atomic<int> right_{0};
  std::mutex mutex_;
  std::vector<std::string> faults_;
  std::vector<std::thread> threads_;
};

TEST(CrashRows, Row46_KillOneOfTwoBehindOneTarget) {
  ServerProcess first;
  ServerProcess second;
  Traffic traffic(absl::StrCat(first.address(), ",", second.address()));
  traffic.Await(40);
  first.process().Signal(SIGKILL);
  first.process().Wait();
  traffic.Await(40);
  const ServerProcess again({first.address()});
  // Until it serves, the other one is needed.
  Client probe = *Client::Connect(again.address());
  ASSERT_TRUE(HoldsWithin(absl::Seconds(60), [&] { return probe.CheckHealth().value_or(false); }));
  traffic.Await(80);
  second.process().Signal(SIGKILL);
  second.process().Wait();
  traffic.Await(40);
  traffic.Stop();
  EXPECT_THAT(traffic.faults(), IsEmpty());
  EXPECT_EQ(traffic.over(), traffic.begun());
}

// Whether some connection of this port waits for what may still be on the way of it (TIME_WAIT).
bool Lingers(const std::string& address) {
  const std::string port =
      absl::StrFormat(":%04X", std::stoi(address.substr(address.rfind(':') + 1)));
  std::ifstream table("/proc/net/tcp");
  for (std::string line; std::getline(table, line);) {
    if (line.substr(14, 5) == port && line.substr(34, 2) == "06") return true;
  }
  return false;
}

// Of a connection, TIME_WAIT is on the side that closed first: the client waits until the server
// has.
TEST(CrashRows, Row46_ARestartBindsWhileOldConnectionsLinger) {
  std::string address;
  {
    ServerProcess server;
    address = server.address();
    RawClient client(address);
    client.Greet();
    ASSERT_TRUE(client.Open(1, "/lossd.v1.LossService/Compute"));
    const std::string request = testing::Problem(16, 40).Request().SerializeAsString();
    ASSERT_TRUE(client.SendData(1, http2::Message(request), /*end=*/true));
    ASSERT_EQ(client.Status(1), 0) << client.what();
    server.process().Signal(SIGTERM);
    ASSERT_TRUE(client.Ends(60)) << "the server does not close";
    EXPECT_EQ(server.process().Wait(), 0);
  }
  ASSERT_TRUE(HoldsWithin(absl::Seconds(20), [&] { return Lingers(address); }));
  const ServerProcess again({address});
  EXPECT_TRUE(Lingers(address)) << "it was bound after TIME_WAIT, not in it";
  Client client = *Client::Connect(address);
  EXPECT_EQ(KnownCall(16, 40).Try(client, TransferMode::kUnary), absl::OkStatus());
}

// Ten seconds of standing still: each call is over at its deadline, whatever is stuck on the way,
// and the same client gets right answers as soon as the server goes on.
class SlowCrashRows : public ::testing::TestWithParam<TransferMode> {};

TEST_P(SlowCrashRows, Row36_TheServerIsStoppedForTenSeconds) {
  constexpr absl::Duration kTimeout = absl::Milliseconds(400);
  constexpr absl::Duration kLate = absl::Seconds(5);  // most of it is for a busy machine
  ServerProcess server({"127.0.0.1:0"}, {"--log-level=error"});
  Client client = *Client::Connect(server.address(), {.block_bytes = 1 << 20});
  const KnownCall call(4000, 500);  // 8 MB: more than the line holds
  ASSERT_EQ(call.Try(client, GetParam()), absl::OkStatus());
  server.process().Freeze();
  const absl::Time stopped = absl::Now();
  while (absl::Now() - stopped < absl::Seconds(10)) {
    const absl::Time begin = absl::Now();
    EXPECT_EQ(call.Try(client, GetParam(), kTimeout).code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_LT(absl::Now() - begin, kTimeout + kLate);
  }
  server.process().Signal(SIGCONT);
  const absl::Time resumed = absl::Now();
  EXPECT_EQ(call.Try(client, GetParam()), absl::OkStatus());
  std::printf("  the next answer came after %s\n",
              absl::FormatDuration(absl::Now() - resumed).c_str());
  EXPECT_LT(absl::Now() - resumed, absl::Seconds(30));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(call.Try(client, GetParam()), absl::OkStatus());
}
// What came while it stood still was not sent too late.
TEST_P(SlowCrashRows, Row36_WhatCameMeanwhileIsAnswered) {
  ServerProcess server({"127.0.0.1:0"}, {"--log-level=error"});
  const testing::Problem problem(16, 40);
  const bool unary = GetParam() == TransferMode::kUnary;
  RawClient client(server.address());
  client.Greet();
  std::string rest;
  if (unary) {
    ASSERT_TRUE(client.Open(1, "/lossd.v1.LossService/Compute"));
    rest = http2::Message(problem.Request().SerializeAsString());
  } else {
    ASSERT_TRUE(client.Open(1, "/lossd.v1.LossService/ComputeStream"));
    ASSERT_TRUE(client.SendData(1, http2::Message(problem.Header().SerializeAsString())));
    for (const auto& part : {problem.Weights(), problem.Labels(), problem.Block(0, problem.rows)}) {
      rest += http2::Message(part.SerializeAsString());
    }
  }
  ASSERT_TRUE(client.SendData(1, rest.substr(0, 10)));
  ASSERT_TRUE(client.Send(http2::Bytes(http2::kPing, http2::kNone, 0, "12345678")));
  std::optional<http2::Frame> frame;
  do {  // what was sent is read when the ping is answered
    frame = client.Read();
  } while (frame && frame->type != http2::kPing);
  ASSERT_TRUE(frame) << client.what();
  server.process().Freeze();
  ASSERT_TRUE(client.SendData(1, rest.substr(10), /*end=*/true));
  absl::SleepFor(absl::Seconds(7));  // longer than silence may last
  server.process().Signal(SIGCONT);
  EXPECT_EQ(client.Status(1), 0) << client.what() << " " << client.reason();
}

INSTANTIATE_TEST_SUITE_P(Modes, SlowCrashRows,
                         ::testing::Values(TransferMode::kUnary, TransferMode::kStream),
                         [](const auto& info) { return info.index == 0 ? "Unary" : "Stream"; });

}  // namespace
}  // namespace lossd
