// A computation that nobody waits for any more ends soon, whatever its shape: counted in how far it
// still walks through its tensors, not in time.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ostream>
#include <vector>

#include "core/exec/loss_run.h"
#include "core/plan/loss_plan.h"
#include "tests/core/trapped_memory.h"

namespace lossd::testing {
namespace {

constexpr int64_t kM = 1 << 20;

struct Work {
  const char* name;
  DType dtype;
  std::vector<int64_t> shape;
  bool dense = false;
  Loss loss = SoftmaxLoss{};
  double smoothing = 0;
  bool class_weights = false;
  OutputSet outputs = {};
  bool in_pieces = false;
};

void PrintTo(const Work& work, std::ostream* out) { *out << work.name; }

// One row as long as a message, several, and rows so short that there are very many.
std::vector<Work> AllWork() {
  const OutputSet no_gradient = {.gradient = false};
  const OutputSet everything = {
      .position_losses = true, .argmax_hits = true, .probabilities = true};
  return {
      {.name = "Row", .dtype = DType::kF32, .shape = {1, 8 * kM}},
      {.name = "RowInPieces", .dtype = DType::kF32, .shape = {1, 8 * kM}, .in_pieces = true},
      {.name = "RowF64", .dtype = DType::kF64, .shape = {1, 4 * kM}},
      {.name = "RowF16", .dtype = DType::kF16, .shape = {1, 16 * kM}},
      {.name = "RowLossOnly", .dtype = DType::kF32, .shape = {1, 8 * kM}, .outputs = no_gradient},
      {.name = "RowEverything", .dtype = DType::kF32, .shape = {1, 8 * kM}, .outputs = everything},
      {.name = "RowSmoothed", .dtype = DType::kF32, .shape = {1, 8 * kM}, .smoothing = 0.1},
      {.name = "RowDense", .dtype = DType::kF32, .shape = {1, 4 * kM}, .dense = true},
      {.name = "RowDenseF16", .dtype = DType::kF16, .shape = {1, 8 * kM}, .dense = true},
      {.name = "RowDenseWeighted",
       .dtype = DType::kF32,
       .shape = {1, 4 * kM},
       .dense = true,
       .class_weights = true},
      {.name = "RowLogistic",
       .dtype = DType::kF32,
       .shape = {1, 4 * kM},
       .dense = true,
       .loss = MultinomialLogisticLoss{}},
      {.name = "RowNll",
       .dtype = DType::kF32,
       .shape = {1, 4 * kM},
       .dense = true,
       .loss = NllLoss{}},
      {.name = "Rows", .dtype = DType::kF32, .shape = {8 << 10, 1 << 10}},
      {.name = "ShortRowsDense", .dtype = DType::kF32, .shape = {2 * kM, 2}, .dense = true},
      {.name = "Lanes", .dtype = DType::kF32, .shape = {1, 1 << 8, 33'000}},
      {.name = "LanesOfManyClasses", .dtype = DType::kF32, .shape = {1, 1 << 17, 1 << 6}},
      {.name = "LanesOfManyClassesF64", .dtype = DType::kF64, .shape = {1, 1 << 16, 1 << 6}},
      {.name = "LanesDense", .dtype = DType::kF32, .shape = {1, 1 << 16, 1 << 6}, .dense = true},
  };
}

LossPlan PlanOf(const Work& work) {
  LossSpec spec;
  spec.loss = work.loss;
  spec.label_smoothing = work.smoothing;
  spec.outputs = work.outputs;
  LossTensorDescs descs;
  descs.predictions = {.dtype = work.dtype, .shape = work.shape};
  descs.targets = descs.predictions;
  if (work.dense) {
    descs.target_kind = TargetKind::kClassProbabilities;
  } else {
    descs.targets.dtype = DType::kI32;
    descs.targets.shape.erase(descs.targets.shape.begin() + 1);
  }
  if (work.class_weights) descs.class_weights = {.dtype = DType::kF32, .shape = {work.shape[1]}};
  return *LossPlan::Make(spec, descs);
}

class Stop : public ::testing::TestWithParam<Work> {
 protected:
  void SetUp() override {
    auto* const weights = reinterpret_cast<float*>(weights_.data());
    std::fill_n(weights, weights_.size() / 4, 1.0f);
  }

  // The whole computation, on this thread, stopped at the trap number `at` (-1: not): how many
  // traps were sprung after that.
  int64_t Run(int64_t at) {
    TrappedMemory* const tensors[] = {&predictions_, &targets_, &weights_, &gradient_,
                                      &probabilities_};
    std::atomic<bool> stop{false};
    for (TrappedMemory* const tensor : tensors) tensor->Arm();
    Count(at, &stop);
    const absl::Status status = Compute(StopToken(&stop));
    const int64_t sprung = Sprung();
    for (TrappedMemory* const tensor : tensors) tensor->Disarm();
    EXPECT_EQ(status.code(), at < 0 ? absl::StatusCode::kOk : absl::StatusCode::kCancelled)
        << status;
    return sprung - at - 1;
  }

 private:
  absl::Status Compute(StopToken stop) {
    SideBytes side;
    if (!GetParam().dense) side.targets = Bytes(targets_, plan_.positions() * 4);
    if (GetParam().class_weights) side.class_weights = Bytes(weights_, weights_.size());
    absl::StatusOr<LossRun> run = LossRun::Prepare(plan_, side, executor_, stop);
    if (!run.ok()) return run.status();
    BoxInputs in;
    in.predictions = Pieces(predictions_);
    if (GetParam().dense) in.class_probabilities = Pieces(targets_);
    LossOutputs out;
    if (bytes_.gradient > 0) out.gradient = {gradient_.data(), size_t(bytes_.gradient)};
    if (bytes_.probabilities > 0) {
      out.probabilities = {probabilities_.data(), size_t(bytes_.probabilities)};
    }
    out.position_losses = absl::MakeSpan(losses_);
    out.argmax_hits = absl::MakeSpan(hits_);
    return run->RunBox(plan_.whole(), in, out, executor_, stop).status();
  }

  static ByteSpan Bytes(const TrappedMemory& memory, int64_t count) {
    return {memory.data(), static_cast<size_t>(count)};
  }
  static ScatteredBytes Pieces(const TrappedMemory& memory) {
    const int64_t piece = GetParam().in_pieces ? 1'000'000 : memory.size();
    ScatteredBytes bytes;
    for (int64_t at = 0; at < memory.size(); at += piece) {
      const int64_t end = std::min(memory.size(), at + piece);
      bytes.Append({memory.data() + at, static_cast<size_t>(end - at)});
    }
    return bytes;
  }

  Executor executor_{1};
  const LossPlan plan_ = PlanOf(GetParam());
  const LossPlan::BoxBytes bytes_ = plan_.BytesOf(plan_.whole());
  TrappedMemory predictions_{bytes_.predictions};
  TrappedMemory targets_{GetParam().dense ? bytes_.predictions : plan_.positions() * 4};
  TrappedMemory weights_{GetParam().class_weights ? GetParam().shape[1] * 4 : 0};
  TrappedMemory gradient_{bytes_.gradient};
  TrappedMemory probabilities_{bytes_.probabilities};
  std::vector<std::byte> losses_ = std::vector<std::byte>(bytes_.position_losses);
  std::vector<std::byte> hits_ = std::vector<std::byte>(bytes_.argmax_hits);
};

// Wherever it is stopped, it walks on over a few MiB at most: not over one of its tensors.
TEST_P(Stop, ComesSoon) {
  constexpr int64_t kMost = 20;
  const int64_t all = Run(-1);
  ASSERT_GT(all, 5 * kMost) << "too little to tell whether it stops";
  int64_t most = 0;
  for (int part = 0; part < 12; ++part) most = std::max(most, Run(all * part / 12));
  std::printf("  of %ld traps at most %ld were sprung after the stop\n", static_cast<long>(all),
              static_cast<long>(most));
  EXPECT_LE(most, kMost);
}

INSTANTIATE_TEST_SUITE_P(All, Stop, ::testing::ValuesIn(AllWork()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lossd::testing
