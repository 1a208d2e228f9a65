// A storm of right and wrong calls over a real server, which is drained and started again in it.
// Nothing may fall, no answer may be wrong by a bit, and nothing may stay behind.
//   STORM_SECONDS     how long it lasts over each kind of server (default 4)
//   STORM_ROWS        of what calls: see storm_calls.h
//   LOSSD_TEST_SEED   which storm it is
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/faults/raw_client.h"
#include "tests/faults/row.h"
#include "tests/faults/storm.h"
#include "tests/server/scrape.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using ::testing::IsEmpty;

constexpr char kToken[] = "of-the-storm-0123456789";
constexpr int kDrains = 2;

// A hang is what exceeds it: a drain has two seconds, and what is left is broken off.
constexpr absl::Duration kMostOfAnEnd = absl::Minutes(1);

absl::Duration StormTime() {
  const char* const text = std::getenv("STORM_SECONDS");
  double seconds = 0;
  return text != nullptr && absl::SimpleAtod(text, &seconds) ? absl::Seconds(seconds)
                                                             : absl::Seconds(4);
}

struct Kind {
  const char* name;
  bool tls;
  bool tokens;

  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

// A server that can be started again where it was, and its log.
class Stronghold {
 public:
  explicit Stronghold(const Kind& kind) {
    flags_ = {"--reflection", "--drain-timeout=2s", "--memory-budget=256MiB", "--log-format=json",
              "--handshake-timeout=2s"};
    if (kind.tls) {
      const Authority authority("servers");
      const Identity identity = authority.Sign(1);
      target_.ca_file = scratch_.Write("ca.pem", authority.certificate());
      flags_.push_back("--tls-cert=" + scratch_.Write("cert.pem", identity.certificate));
      flags_.push_back("--tls-key=" + scratch_.Write("key.pem", identity.key));
    }
    if (kind.tokens) {
      target_.token = kToken;
      target_.token_file = scratch_.Write("tokens", kToken);
      flags_.push_back("--auth-token-file=" + target_.token_file);
    }
    target_.addresses = {"127.0.0.1:0", "unix:" + scratch_.Path("socket")};
    target_.health_address = metrics_address_ = "127.0.0.1:0";
    Start();
  }

  void Start() {
    std::vector<std::string> flags = flags_;
    flags.push_back("--health-listen=" + target_.health_address);
    flags.push_back("--metrics-listen=" + metrics_address_);
    server_.emplace(target_.addresses, flags, scratch_.Path("log"));
    target_.addresses = server_->addresses();
    target_.health_address = NextAddress();
    metrics_address_ = NextAddress();
  }

  // SIGTERM, and what became of it.
  void Drain() {
    server_->process().Signal(SIGTERM);
    ASSERT_TRUE(FallsWithin(kMostOfAnEnd)) << "it does not end";
    EXPECT_EQ(server_->process().Wait(), 0) << Fate();
  }

  // Waits until the server is gone (true), until `enough`, or for that time.
  bool FallsWithin(
      absl::Duration time, const std::function<bool()>& enough = [] { return false; }) {
    const auto gone = [this] { return StateOf(server_->process().pid()).rss_bytes == 0; };
    HoldsWithin(time, [&] { return gone() || enough(); });
    return gone();
  }

  // Of one that is gone: its exit code or minus the signal, and what its log says of faults.
  std::string Fate() {
    return absl::StrCat("it ended with ", server_->process().Wait(), "\n",
                        absl::StrJoin(Faults(), "\n"));
  }

  ClientOptions Options() const {
    ClientOptions options{.token_file = target_.token_file};
    if (!target_.ca_file.empty()) options.tls = TlsOptions{.ca_file = target_.ca_file};
    return options;
  }

  ServerProcess& server() { return *server_; }
  const StormTarget& target() const { return target_; }
  const std::string& metrics_address() const { return metrics_address_; }

  // The first lines of the log that tell of faults, and what is no line of the log: of a sanitizer,
  // say.
  std::vector<std::string> Faults() const {
    constexpr size_t kMostLines = 60;
    std::vector<std::string> faults;
    const std::string log = ReadWhole(scratch_.Path("log"));
    for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
      if (absl::StartsWith(line, "{") && !absl::StrContains(line, "INTERNAL") &&
          !absl::StrContains(line, "\"level\":\"error\"")) {
        continue;
      }
      if (faults.size() < kMostLines) faults.emplace_back(line);
    }
    return faults;
  }

 private:
  std::string NextAddress() {
    const std::string line = server_->process().ReadLine().value_or("");
    return line.substr(line.rfind(' ') + 1);
  }

  const TempDir scratch_;
  std::vector<std::string> flags_;
  StormTarget target_;
  std::string metrics_address_;
  std::optional<ServerProcess> server_;
};

// Goes on calling while servers come and go. A call may find nobody there; no answer may be wrong,
// and no other error may come out.
class Caller {
 public:
  explicit Caller(const Stronghold& stronghold)
      : client_(*Client::Connect(stronghold.target().addresses.front(), stronghold.Options())),
        thread_([this] { Run(); }) {}
  ~Caller() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int answered() const { return answered_; }
  // After Stop: what was neither answered nor UNAVAILABLE.
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  void Run() {
    const KnownCall small(16, 40);
    const KnownCall large(600, 200);
    for (int i = 0; !stop_; ++i) {
      const absl::Status status = i % 2 == 0 ? small.Try(client_, TransferMode::kUnary)
                                             : large.Try(client_, TransferMode::kStream);
      if (status.ok()) ++answered_;
      if (!status.ok() && !absl::IsUnavailable(status)) faults_.push_back(status.ToString());
    }
  }

  Client client_;
  std::atomic<bool> stop_{false};
  std::atomic<int> answered_{0};
  std::vector<std::string> faults_;
  std::thread thread_;
};

// Of what the server counts, what is 0 when nothing goes on.
constexpr std::array kGauges = {"lossd_requests_in_flight", "lossd_requests_queued",
                                "lossd_memory_granted_bytes", "lossd_connections",
                                "lossd_output_pool_bytes{state=\"loaned\"}"};

void ExpectNothingStays(const std::string& metrics_address) {
  testing::Samples samples;
  HoldsWithin(absl::Seconds(60), [&] {
    samples = testing::Scrape(metrics_address);
    return std::all_of(kGauges.begin(), kGauges.end(),
                       [&](const char* gauge) { return samples.at(gauge) == 0; });
  });
  for (const char* const gauge : kGauges) EXPECT_EQ(samples.at(gauge), 0) << gauge;
  for (const auto& [name, count] : samples) {
    if (!absl::StartsWith(name, "lossd_requests_total")) continue;
    const bool fault =
        absl::StrContains(name, "\"INTERNAL\"") || absl::StrContains(name, "\"UNKNOWN\"");
    EXPECT_EQ(fault ? count : 0, 0) << name;
  }
}

// The places for messages of unknown size, two of this server's: while a stranger's call holds one,
// a call of a stock client, which does not say its size either, gets the other one.
void ExpectPlacesAreFree(const Stronghold& stronghold) {
  const std::string& address = stronghold.target().addresses.front();
  RawClient holder(address);
  holder.Greet();
  ASSERT_TRUE(holder.Open(1, "/lossd.v1.LossService/Compute"));
  ASSERT_TRUE(holder.SendData(1, http2::MessagePrefix(1 << 20)));
  const testing::Problem problem(16, 40);
  grpc::ClientContext context;
  v1::ComputeResponse response;
  const auto stub = v1::LossService::NewStub(testing::Connect(address));
  const grpc::Status status = stub->Compute(&context, problem.Request(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

// Whether the storm was one.
void ExpectAllWasTried(const Storm& storm) {
  for (const StormRow& row : StormRows()) EXPECT_GT(storm.begun(row.name), 0) << row.name;
  if (std::getenv("STORM_ROWS") != nullptr) return;
  EXPECT_GT(storm.ended(grpc::StatusCode::OK), 0) << "no right call was answered";
  EXPECT_GT(storm.ended(grpc::StatusCode::INVALID_ARGUMENT), 0);
  EXPECT_GT(storm.ended(grpc::StatusCode::UNIMPLEMENTED), 0);
  EXPECT_GT(storm.killed(), 0);
}

class StormTest : public ::testing::TestWithParam<Kind> {
 protected:
  static void SetUpTestSuite() {
    // What is used after it was freed is seen sooner.
    setenv("MALLOC_PERTURB_", "165", /*overwrite=*/0);
  }
};

// Until so many calls are answered, however slow the machine: each within a minute of the one
// before.
void AwaitAnswers(Stronghold& stronghold, const Caller& caller, int count) {
  for (const int wanted = caller.answered() + count; caller.answered() < wanted;) {
    const int before = caller.answered();
    const bool fell =
        stronghold.FallsWithin(absl::Minutes(1), [&] { return caller.answered() > before; });
    ASSERT_FALSE(fell) << stronghold.Fate();
    ASSERT_GT(caller.answered(), before) << "calls are not answered";
  }
}

// Drains amid the storm: the server ends in time, and serves again.
void DrainInTheStorm(Stronghold& stronghold) {
  Caller caller(stronghold);
  Storm storm(stronghold.target());
  for (int i = 0; i <= kDrains; ++i) {
    ASSERT_NO_FATAL_FAILURE(AwaitAnswers(stronghold, caller, 20));
    if (i == kDrains) break;
    ASSERT_FALSE(stronghold.FallsWithin(StormTime() / (4 * kDrains))) << stronghold.Fate();
    stronghold.Drain();
    stronghold.Start();
  }
  storm.Stop();
  caller.Stop();
  EXPECT_THAT(caller.faults(), IsEmpty());
}

TEST_P(StormTest, NothingFallsAndNothingStays) {
  Stronghold stronghold(GetParam());
  DrainInTheStorm(stronghold);
  if (HasFatalFailure()) return;
  stronghold.Drain();
  stronghold.Start();
  // A victim with the retries that a client has: the storm may fill the memory for a moment.
  std::optional<Sentinel> sentinel;
  sentinel.emplace(stronghold.server(), stronghold.Options());
  Storm storm(stronghold.target());
  const bool fell = stronghold.FallsWithin(StormTime());
  storm.Stop();
  ASSERT_FALSE(fell) << stronghold.Fate();
  ExpectAllWasTried(storm);
  sentinel->Check();
  sentinel.reset();
  ExpectNothingStays(stronghold.metrics_address());
  if (!GetParam().tls) ExpectPlacesAreFree(stronghold);  // stock and raw clients do without here
  stronghold.Drain();
  EXPECT_THAT(stronghold.Faults(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Kinds, StormTest,
                         ::testing::Values(Kind{"Open", false, false},
                                           Kind{"TlsAndTokens", true, true}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lossd
