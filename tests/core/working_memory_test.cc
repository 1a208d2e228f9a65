// What computing takes beside what it is given, counted where it is allocated, against
// WorkingBytes.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "core/exec/loss_run.h"
#include "core/exec/scratch.h"
#include "core/exec/working_memory.h"

namespace {

std::atomic<int64_t> held{0};
std::atomic<int64_t> most_held{0};

void* Counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  const auto size = static_cast<int64_t>(malloc_usable_size(memory));
  const int64_t now = held.fetch_add(size) + size;
  int64_t most = most_held.load();
  while (now > most && !most_held.compare_exchange_weak(most, now)) {
  }
  return memory;
}

void Uncount(void* memory) {
  if (memory != nullptr) held.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)));
  std::free(memory);
}

}  // namespace

// None of these is inlined: the compiler would see malloc on one side and delete on the other.
[[gnu::noinline]] void* operator new(size_t size) { return Counted(std::malloc(size)); }
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
  const auto to = static_cast<size_t>(alignment);
  return Counted(std::aligned_alloc(to, (size + to - 1) / to * to));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { Uncount(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { Uncount(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { Uncount(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  Uncount(memory);
}

namespace lossd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

struct Kind {
  std::string name;
  Loss loss = SoftmaxLoss{};
  DType dtype = DType::kF32;
  std::optional<DType> probabilities = std::nullopt;  // of the targets; else labels
  double smoothing = 0;
  std::optional<DType> gradient = std::nullopt;
  bool more_outputs = false;
  std::optional<DType> class_weights = std::nullopt;
  Reduction reduction = Reduction::kValid;
};

const std::vector<Kind>& Kinds() {
  static const auto* const kinds = new std::vector<Kind>{
      {.name = "labels"},
      {.name = "labels, f64", .dtype = DType::kF64},
      {.name = "labels, f16", .dtype = DType::kF16},
      {.name = "bf16 to f64", .dtype = DType::kBF16, .gradient = DType::kF64},
      {.name = "all outputs", .more_outputs = true},
      {.name = "smoothed", .smoothing = 0.1},
      {.name = "smoothed, f16 to f32, weights",
       .dtype = DType::kF16,
       .smoothing = 0.1,
       .gradient = DType::kF32,
       .class_weights = DType::kF16},
      {.name = "probabilities", .probabilities = DType::kF32},
      {.name = "probabilities, f16 of f64, weights, whole",
       .dtype = DType::kF16,
       .probabilities = DType::kF64,
       .more_outputs = true,
       .class_weights = DType::kBF16,
       .reduction = Reduction::kWeightSum},
      {.name = "nll of labels", .loss = NllLoss{}},
      {.name = "nll, f16 probabilities",
       .loss = NllLoss{},
       .dtype = DType::kF16,
       .probabilities = DType::kF16},
      {.name = "logistic, f64 probabilities",
       .loss = MultinomialLogisticLoss{},
       .dtype = DType::kF64,
       .probabilities = DType::kF64},
  };
  return *kinds;
}

LossPlan PlanOf(const Kind& kind, int64_t outer, int64_t classes, int64_t inner) {
  LossSpec spec;
  spec.loss = kind.loss;
  spec.class_axis = 1;
  spec.reduction = kind.reduction;
  spec.label_smoothing = kind.smoothing;
  spec.gradient_dtype = kind.gradient;
  spec.outputs.gradient = true;
  spec.outputs.position_losses = kind.more_outputs;
  spec.outputs.probabilities = kind.more_outputs;
  spec.outputs.argmax_hits = kind.more_outputs;
  LossTensorDescs tensors;
  tensors.predictions = {.dtype = kind.dtype, .shape = {outer, classes, inner}};
  tensors.target_kind =
      kind.probabilities ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
  tensors.targets = kind.probabilities
                        ? TensorDesc{.dtype = *kind.probabilities, .shape = {outer, classes, inner}}
                        : TensorDesc{.dtype = DType::kI32, .shape = {outer, inner}};
  if (kind.class_weights) {
    tensors.class_weights = TensorDesc{.dtype = *kind.class_weights, .shape = {classes}};
  }
  absl::StatusOr<LossPlan> plan = LossPlan::Make(spec, tensors);
  if (!plan.ok()) {
    ADD_FAILURE() << kind.name << ": " << plan.status();
    std::abort();
  }
  return *std::move(plan);
}

// Elements of a plausible probability and logit, in any floating format.
std::vector<std::byte> Bytes(int64_t bytes) {
  return std::vector<std::byte>(static_cast<size_t>(bytes), std::byte{0x3a});
}

// Bytes that were held at most at once beside inputs and outputs.
int64_t Taken(const LossPlan& plan, bool one_piece, Executor& executor) {
  const LossPlan::BoxBytes sizes = plan.BytesOf(plan.whole());
  const LossTensorDescs& tensors = plan.tensors();
  const std::vector<std::byte> predictions = Bytes(sizes.predictions);
  const std::vector<std::byte> in_box = Bytes(sizes.class_probabilities);
  const std::vector<std::byte> labels(static_cast<size_t>(*ByteCount(tensors.targets)));
  const std::vector<std::byte> whole = Bytes(*ByteCount(tensors.targets));
  const std::vector<std::byte> weights =
      Bytes(tensors.class_weights ? *ByteCount(*tensors.class_weights) : 0);
  std::vector<std::byte> gradient = Bytes(sizes.gradient);
  std::vector<std::byte> losses = Bytes(sizes.position_losses);
  std::vector<std::byte> hits = Bytes(sizes.argmax_hits);
  std::vector<std::byte> probabilities = Bytes(sizes.probabilities);
  const auto scattered = [&](const std::vector<std::byte>& bytes) {
    if (one_piece || bytes.size() < 3) return ScatteredBytes(ByteSpan(bytes));
    ScatteredBytes pieces(ByteSpan(bytes).subspan(0, bytes.size() / 3));
    pieces.Append(ByteSpan(bytes).subspan(bytes.size() / 3));
    return pieces;
  };
  const BoxInputs inputs{scattered(predictions), scattered(in_box)};
  SideBytes side;
  side.class_weights = weights;
  if (plan.targets_come_whole()) side.targets = plan.hard_targets() ? labels : whole;
  const LossOutputs outputs{.gradient = absl::MakeSpan(gradient),
                            .position_losses = absl::MakeSpan(losses),
                            .argmax_hits = absl::MakeSpan(hits),
                            .probabilities = absl::MakeSpan(probabilities)};
  const int64_t before = held;
  most_held = before;
  {
    const absl::StatusOr<LossRun> run = LossRun::Prepare(plan, side, executor);
    EXPECT_TRUE(run.ok()) << run.status();
    if (!run.ok()) return 0;
    const auto sums = run->RunBox(plan.whole(), inputs, outputs, executor);
    EXPECT_TRUE(sums.ok()) << sums.status();
  }
  EXPECT_LE(held - before, executor.threads() * kKeptScratchBytes + kMiB) << "kept";
  return most_held - before;
}

struct Shape {
  int64_t outer, classes, inner;
};

// Sums of units, labels of the plan, TBB's own.
constexpr int64_t kSmall = kMiB;

TEST(WorkingMemory, IsBoundedByThePlan) {
  constexpr int kThreads = 2;
  Executor executor(kThreads);
  for (const Shape& shape : std::vector<Shape>{{32, 10, 1},
                                               {1'000'000, 1, 1},
                                               {4000, 500, 1},
                                               {3, 700'000, 1},
                                               {2, 2'000'000, 1},
                                               {1, 700'000, 2},
                                               {1, 100'000, 60},
                                               {1, 20'000, 200},
                                               {2, 21, 50'000},
                                               {500'000, 2, 2},
                                               {20'000, 3, 33}}) {
    for (const Kind& kind : Kinds()) {
      const LossPlan plan = PlanOf(kind, shape.outer, shape.classes, shape.inner);
      const int64_t bound = WorkingBytes(plan, kThreads);
      for (const bool one_piece : {true, false}) {
        const int64_t taken = Taken(plan, one_piece, executor);
        EXPECT_LE(taken, bound + kThreads * kKeptScratchBytes + kSmall)
            << kind.name << ", [" << shape.outer << ", " << shape.classes << ", " << shape.inner
            << "], " << (one_piece ? "one piece" : "pieces") << "; bound " << bound;
      }
    }
  }
}

// A bound that is far too high would turn away what there is room for.
TEST(WorkingMemory, IsNotFarFromWhatIsTaken) {
  for (const Shape& shape :
       std::vector<Shape>{{2, 4'000'000, 1}, {1, 1'500'000, 2}, {1, 100'000, 64}}) {
    for (const Kind& kind : Kinds()) {
      Executor executor(1);
      const LossPlan plan = PlanOf(kind, shape.outer, shape.classes, shape.inner);
      const int64_t bound = WorkingBytes(plan, 1);
      const int64_t taken = std::max(Taken(plan, true, executor), Taken(plan, false, executor));
      // What the thread kept from before is not taken anew.
      EXPECT_LE(bound, taken * 5 / 4 + kMiB) << kind.name << ", [" << shape.outer << ", "
                                             << shape.classes << ", " << shape.inner << "]";
    }
  }
}

TEST(WorkingMemory, OrdinaryShapesTakeNothingBeyondWhatThreadsKeep) {
  for (const Shape& shape : std::vector<Shape>{{32, 10, 1},
                                               {1'000'000, 1, 1},
                                               {1024, 32'000, 1},
                                               {512, 128'256, 1},
                                               {8, 21, 1 << 18}}) {
    for (const Kind& kind : Kinds()) {
      if (kind.class_weights) continue;
      EXPECT_EQ(WorkingBytes(PlanOf(kind, shape.outer, shape.classes, shape.inner), 2), 0)
          << kind.name << ", [" << shape.outer << ", " << shape.classes << ", " << shape.inner
          << "]";
    }
  }
}

}  // namespace
}  // namespace lossd
