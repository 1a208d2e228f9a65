#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/exec/loss_run.h"
#include "tests/bench/row.h"
#include "tests/bench/tensors.h"
#include "tests/bench/timing.h"

// The core in this process against memcpy of the same bytes.

namespace lossd::bench {
namespace {

void ComputeOrDie(const Problem& problem, MutableByteSpan gradient, Executor& executor) {
  const absl::StatusOr<LossResult> result =
      ComputeLoss(problem.spec(), problem.inputs(), {.gradient = gradient}, executor);
  if (result.ok()) return;
  std::fprintf(stderr, "bench: %s\n", std::string(result.status().message()).c_str());
  std::exit(1);
}

// As each thread would copy its share: in one piece, or in pieces of a megabyte handed out one by
// one. Which of the two is faster depends on the machine; the faster one is the reference.
void CopyShares(ByteSpan from, MutableByteSpan to, size_t pieces, Executor& executor) {
  const size_t step = (from.size() + pieces - 1) / pieces;
  const absl::Status status =
      executor.ForEach(static_cast<int64_t>(pieces), {}, [&](int64_t piece) {
        const size_t begin = static_cast<size_t>(piece) * step;
        if (begin >= from.size()) return;
        std::memcpy(to.data() + begin, from.data() + begin, std::min(step, from.size() - begin));
      });
  if (!status.ok()) std::exit(1);
}

class Copy {
 public:
  Copy(ByteSpan from, MutableByteSpan to, Executor& executor)
      : from_(from), to_(to), executor_(executor) {
    const std::vector<size_t> choices = {static_cast<size_t>(executor.threads()),
                                         std::max<size_t>(1, from.size() >> 20)};
    double best = 0;
    for (const size_t pieces : choices) {
      double fastest = 0;
      for (int i = 0; i < 5; ++i) {
        const double ms = Milliseconds([&] { CopyShares(from_, to_, pieces, executor_); });
        if (fastest == 0 || ms < fastest) fastest = ms;
      }
      if (best != 0 && fastest >= best) continue;
      best = fastest;
      pieces_ = pieces;
    }
  }

  void Run() { CopyShares(from_, to_, pieces_, executor_); }

 private:
  ByteSpan from_;
  MutableByteSpan to_;
  Executor& executor_;
  size_t pieces_ = 1;
};

struct KernelCase {
  const char* name;
  double bar;
  DType dtype;
  std::vector<int64_t> shape;
  TargetKind targets = TargetKind::kClassIndices;
  int threads = 0;  // 0: all
  Loss loss = SoftmaxLoss{};
};

Measured MeasureKernel(const KernelCase& c, const Settings& settings) {
  Executor executor(c.threads);
  const Problem problem(c.dtype, c.shape, c.targets, c.loss);
  const Buffer gradient(problem.inputs().predictions.bytes.size());
  Copy predictions(problem.inputs().predictions.bytes, gradient.span(), executor);
  const auto ours = [&] { ComputeOrDie(problem, gradient.span(), executor); };
  const int repeats = settings.quick ? 7 : 25;
  if (c.targets == TargetKind::kClassIndices) {
    return Paired(repeats, ours, [&] { predictions.Run(); });
  }
  const Buffer second(problem.inputs().targets.bytes.size());
  Copy targets(problem.inputs().targets.bytes, second.span(), executor);
  return Paired(repeats, ours, [&] {
    predictions.Run();
    targets.Run();
  });
}

// So small that the time is that of everything but the elements: mean over many calls.
Measured MeasureDirectCall(const Settings& settings) {
  constexpr int kCalls = 2000;
  Executor executor;
  const Problem problem(DType::kF32, {32, 10});
  const Buffer gradient(problem.inputs().predictions.bytes.size());
  const Buffer copy(gradient.span().size());
  const ByteSpan from = problem.inputs().predictions.bytes;
  Measured measured = Paired(
      settings.quick ? 11 : 51,
      [&] {
        for (int i = 0; i < kCalls; ++i) ComputeOrDie(problem, gradient.span(), executor);
      },
      [&] {
        for (int i = 0; i < kCalls; ++i) {
          std::memcpy(copy.span().data(), from.data(), from.size());
          asm volatile("" ::: "memory");  // each copy is made
        }
      });
  measured.ours /= kCalls;
  measured.reference = *measured.reference / kCalls;
  measured.note = absl::StrFormat("mean of %d calls, median of those", kCalls);
  return measured;
}

}  // namespace

std::vector<Row> KernelRows() {
  const TargetKind probabilities = TargetKind::kClassProbabilities;
  const TargetKind values = TargetKind::kTargetValues;
  const std::vector<KernelCase> cases = {
      {"kernel f32 512x128256", 1.15, DType::kF32, {512, 128256}},
      {"kernel f32 1024x32000", 1.25, DType::kF32, {1024, 32000}},
      {"kernel f32 8192x1000", 1.35, DType::kF32, {8192, 1000}},
      {"kernel f32 1024x32000, one thread", 1.6, DType::kF32, {1024, 32000}, {}, 1},
      {"kernel bf16 1024x32000", 2.0, DType::kBF16, {1024, 32000}},
      {"kernel f32 NCHW 8x21x512x512", 1.4, DType::kF32, {8, 21, 512, 512}},
      {"kernel f32 1024x32000, probabilities", 1.3, DType::kF32, {1024, 32000}, probabilities},
      {"kernel f32 16M, binary_cross_entropy",
       1.6,
       DType::kF32,
       {4096, 4096},
       values,
       0,
       BinaryCrossEntropyLoss{}},
      {"kernel f32 16M, squared_error",
       1.15,
       DType::kF32,
       {4096, 4096},
       values,
       0,
       SquaredErrorLoss{}},
      {"kernel f32 16M, huber", 1.15, DType::kF32, {4096, 4096}, values, 0, HuberLoss{}},
  };
  std::vector<Row> rows;
  for (const KernelCase& c : cases) {
    rows.push_back(
        {.name = c.name,
         .reference = c.targets != TargetKind::kClassIndices ? "memcpy of both inputs" : "memcpy",
         .bar = {BarKind::kRatio, c.bar},
         .measure = [c](const Settings& s) { return MeasureKernel(c, s); }});
  }
  rows.push_back({.name = "kernel f32 32x10, one call",
                  .reference = "memcpy (for context)",
                  .bar = {BarKind::kMilliseconds, 0.0015},
                  .measure = MeasureDirectCall});
  return rows;
}

}  // namespace lossd::bench
