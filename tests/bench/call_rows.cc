#include <algorithm>
#include <future>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/pair.h"
#include "tests/bench/row.h"
#include "tests/bench/timing.h"

// Whole calls, client's call to client's return, against an echo of the same bytes.

namespace lossd::bench {
namespace {

constexpr int64_t kClasses = 32768;

// Logits [rows, kClasses] of `mebibytes` in all.
std::vector<int64_t> ShapeOf(int64_t mebibytes) {
  return {(mebibytes << 20) / kClasses / int64_t{sizeof(float)}, kClasses};
}

int Repeats(int64_t mebibytes, const Settings& settings) {
  const int64_t many = settings.quick ? 512 : 4096;
  return static_cast<int>(std::clamp<int64_t>(many / mebibytes, 5, 41));
}

Measured MeasureStream(int64_t mebibytes, const Settings& settings) {
  Pair pair;
  const Problem problem(DType::kF32, ShapeOf(mebibytes));
  const ByteSpan from = problem.inputs().predictions.bytes;
  const Buffer to(from.size());
  const size_t chunk = BestChunk(pair.echo_client(), std::min<size_t>(from.size(), 128 << 20));
  Measured measured = Paired(
      Repeats(mebibytes, settings), [&] { ComputeOrDie(pair.client(), problem, to.span()); },
      [&] { pair.echo_client().Stream(from, to.span(), chunk); });
  absl::StrAppend(&measured.note, ", echo in chunks of ", chunk >> 10, " KiB");
  return measured;
}

Measured MeasureUnary(const Settings& settings) {
  Pair pair;
  // 8 KiB less than a mebibyte of logits, so that labels and options fit into one message, too.
  const Problem problem(DType::kF32, {254, 1024});
  const ByteSpan from = problem.inputs().predictions.bytes;
  const Buffer to(from.size());
  return Paired(
      settings.quick ? 101 : 401,
      [&] {
        CheckOk(pair.client()
                    .Compute(problem.spec(), problem.inputs(), {.gradient = to.span()},
                             {.mode = TransferMode::kUnary})
                    .status());
      },
      [&] { pair.echo_client().Unary(from, to.span()); });
}

Measured MeasureLossOnly(const Settings& settings) {
  Pair pair;
  const Problem problem(DType::kF32, ShapeOf(128));
  const ByteSpan from = problem.inputs().predictions.bytes;
  const size_t chunk = BestChunk(pair.echo_client(), from.size());
  return Paired(
      Repeats(128, settings), [&] { ComputeOrDie(pair.client(), problem, {}); },
      [&] { pair.echo_client().Sink(from, chunk); });
}

// Two clients on threads of their own against one server, both begun at once.
Measured MeasureTwoClients(const Settings& settings) {
  Pair pair;
  const absl::StatusOr<Client> second = Client::Connect(pair.lossd().address());
  CheckOk(second.status());
  Client second_client = *second;
  EchoClient second_echo(pair.echo().address());
  const Problem problem(DType::kF32, ShapeOf(128));
  const ByteSpan from = problem.inputs().predictions.bytes;
  const Buffer first_to(from.size());
  const Buffer second_to(from.size());
  const size_t chunk = BestChunk(pair.echo_client(), from.size());
  const auto both = [](auto&& first, auto&& then) {
    const std::future<void> beside = std::async(std::launch::async, then);
    first();
    beside.wait();
  };
  return Paired(
      Repeats(256, settings),
      [&] {
        both([&] { ComputeOrDie(pair.client(), problem, first_to.span()); },
             [&] { ComputeOrDie(second_client, problem, second_to.span()); });
      },
      [&] {
        both([&] { pair.echo_client().Stream(from, first_to.span(), chunk); },
             [&] { second_echo.Stream(from, second_to.span(), chunk); });
      });
}

Row StreamRow(const char* name, int64_t mebibytes, bool slow) {
  return {.name = name,
          .reference = "echo of the same bytes",
          .bar = {BarKind::kRatio, 1.15},
          .slow = slow,
          .measure = [mebibytes](const Settings& s) { return MeasureStream(mebibytes, s); }};
}

}  // namespace

std::vector<Row> CallRows() {
  return {StreamRow("stream 16 MiB", 16, false),
          StreamRow("stream 128 MiB", 128, false),
          StreamRow("stream 1 GiB", 1024, true),
          {.name = "unary 1 MiB",
           .reference = "unary echo",
           .bar = {BarKind::kRatio, 1.25},
           .measure = MeasureUnary},
          {.name = "two clients, 128 MiB each",
           .reference = "two echoes at once",
           .bar = {BarKind::kRatio, 1.25},
           .measure = MeasureTwoClients},
          {.name = "loss only, 128 MiB up",
           .reference = "the same bytes one way",
           .bar = {BarKind::kRatio, 1.2},
           .measure = MeasureLossOnly}};
}

}  // namespace lossd::bench
