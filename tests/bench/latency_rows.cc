#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/bench/pair.h"
#include "tests/bench/row.h"
#include "tests/bench/timing.h"

// Small requests: 32 rows of 10 classes.

namespace lossd::bench {
namespace {

const std::vector<int64_t> kSmall = {32, 10};
constexpr double kMedian = 0.5;
constexpr double kTail = 0.99;

// One small request each way, of ours and of the echo: as many bytes of logits and labels.
class SmallCalls {
 public:
  SmallCalls(Client& client, EchoClient& echo)
      : client_(client),
        echo_(echo),
        problem_(DType::kF32, kSmall),
        gradient_(problem_.inputs().predictions.bytes.size()),
        echo_from_(gradient_.span().size() + problem_.inputs().targets.bytes.size()),
        echo_to_(echo_from_.span().size()) {}

  void Ours() { ComputeOrDie(client_, problem_, gradient_.span()); }
  void Echo() { echo_.Unary(echo_from_.span(), echo_to_.span()); }

 private:
  Client& client_;
  EchoClient& echo_;
  Problem problem_;
  Buffer gradient_;
  Buffer echo_from_;
  Buffer echo_to_;
};

// `batches` times `calls` of both in turn; the quantile over all calls of each.
Measured MeasureQuantile(SmallCalls& calls, double share, int batches, int count) {
  std::vector<double> ours;
  std::vector<double> echo;
  for (int batch = 0; batch < batches; ++batch) {
    for (int i = 0; i < count; ++i) ours.push_back(Milliseconds([&] { calls.Ours(); }));
    for (int i = 0; i < count; ++i) echo.push_back(Milliseconds([&] { calls.Echo(); }));
  }
  return {.ours = Quantile(ours, share),
          .reference = Quantile(echo, share),
          .note = absl::StrFormat("%d calls each", batches * count)};
}

Measured MeasureLatency(double share, const Settings& settings) {
  Pair pair;
  SmallCalls calls(pair.client(), pair.echo_client());
  static_cast<void>(MeasureQuantile(calls, share, 2, 200));  // warms up
  return MeasureQuantile(calls, share, settings.quick ? 10 : 40, 200);
}

// `total` calls, `in_flight` of them at any time, each with a buffer of its own: as the echo's, the
// next one begins where one ends.
void Flood(Client& client, const Problem& problem, int in_flight, int total) {
  const size_t bytes = problem.inputs().predictions.bytes.size();
  std::vector<std::unique_ptr<Buffer>> gradients;
  for (int i = 0; i < in_flight; ++i) gradients.push_back(std::make_unique<Buffer>(bytes));
  std::atomic<int> begun = 0;
  std::counting_semaphore<> idle(0);
  std::function<void(int)> begin = [&](int slot) {
    if (begun.fetch_add(1) >= total) return idle.release();
    client.ComputeAsync(problem.spec(), problem.inputs(), {.gradient = gradients[slot]->span()}, {},
                        [&begin, slot](const absl::StatusOr<LossResult>& result) {
                          CheckOk(result.status());
                          begin(slot);
                        });
  };
  for (int slot = 0; slot < in_flight; ++slot) begin(slot);
  for (int slot = 0; slot < in_flight; ++slot) idle.acquire();
}

Measured MeasureRate(const Settings& settings) {
  constexpr int kInFlight = 64;
  const int total = settings.quick ? 4000 : 20000;
  Pair pair;
  const Problem problem(DType::kF32, kSmall);
  const Buffer from(problem.inputs().predictions.bytes.size() +
                    problem.inputs().targets.bytes.size());
  const Buffer to(from.span().size());
  Measured measured = Paired(
      settings.quick ? 5 : 11, [&] { Flood(pair.client(), problem, kInFlight, total); },
      [&] { pair.echo_client().Flood(from.span(), to.span(), kInFlight, total); });
  measured.note = absl::StrFormat("%.0f requests/s against %.0f", total / measured.ours * 1e3,
                                  total / *measured.reference * 1e3);
  measured.ours /= total;
  measured.reference = *measured.reference / total;
  return measured;
}

// Calls `work` over and over on a thread of its own.
class Busy {
 public:
  explicit Busy(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          while (!stop_.load()) work();
        }) {}
  ~Busy() {
    stop_.store(true);
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Measured MeasureBesideStream(const Settings& settings) {
  const int batches = settings.quick ? 2 : 6;
  constexpr int kCalls = 500;
  Pair pair;
  SmallCalls calls(pair.client(), pair.echo_client());
  const absl::StatusOr<Client> other = Client::Connect(pair.lossd().address());
  CheckOk(other.status());
  Client large = *other;
  EchoClient large_echo(pair.echo().address());
  const Problem problem(DType::kF32, {(int64_t{1} << 30) / 4 / 32768, 32768});
  const ByteSpan from = problem.inputs().predictions.bytes;
  const Buffer to(from.size());
  const size_t chunk = BestChunk(large_echo, size_t{128} << 20);
  std::vector<double> ours;
  std::vector<double> echo;
  for (int batch = 0; batch < batches; ++batch) {
    {
      const Busy stream([&] { ComputeOrDie(large, problem, to.span()); });
      for (int i = 0; i < kCalls; ++i) ours.push_back(Milliseconds([&] { calls.Ours(); }));
    }
    const Busy stream([&] { large_echo.Stream(from, to.span(), chunk); });
    for (int i = 0; i < kCalls; ++i) echo.push_back(Milliseconds([&] { calls.Echo(); }));
  }
  return {.ours = Quantile(ours, kTail),
          .reference = Quantile(echo, kTail),
          .note = absl::StrFormat("%d calls each", batches * kCalls)};
}

// Calls after a pause, as between the steps of a training run. Each sees both sides idle for 1.5 s.
Measured MeasureAfterPause(const Settings& settings) {
  constexpr std::chrono::milliseconds kPause{1500};
  constexpr int kCalls = 50;
  Pair pair;
  SmallCalls calls(pair.client(), pair.echo_client());
  std::vector<double> ours;
  std::vector<double> echo;
  for (int i = 0; i < kCalls; ++i) {
    std::this_thread::sleep_for(kPause);
    ours.push_back(Milliseconds([&] { calls.Ours(); }));
    echo.push_back(Milliseconds([&] { calls.Echo(); }));
  }
  return {.ours = Quantile(ours, kTail),
          .reference = Quantile(echo, kTail),
          .note = absl::StrFormat("%d calls each", kCalls)};
}

Row LatencyRow(const char* name, double share, double bar) {
  return {.name = name,
          .reference = "unary echo of the same bytes",
          .bar = {BarKind::kRatio, bar},
          .measure = [share](const Settings& s) { return MeasureLatency(share, s); }};
}

}  // namespace

std::vector<Row> LatencyRows() {
  return {LatencyRow("32x10, p50", kMedian, 1.25),
          LatencyRow("32x10, p99", kTail, 1.5),
          {.name = "32x10, 64 in flight, time a request",
           .reference = "echo; 1.25 is 0.8 of its rate",
           .bar = {BarKind::kRatio, 1.25},
           .measure = MeasureRate},
          {.name = "32x10 beside a 1 GiB stream, p99",
           .reference = "echo beside an echo of 1 GiB",
           .bar = {BarKind::kRatio, 1.5},
           .slow = true,
           .measure = MeasureBesideStream},
          {.name = "32x10 every 1.5 s, p99",
           .reference = "echo",
           .bar = {BarKind::kExtraMilliseconds, 2},
           .slow = true,
           .measure = MeasureAfterPause}};
}

}  // namespace lossd::bench
