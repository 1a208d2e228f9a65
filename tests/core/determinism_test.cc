// What must not show in the bits: boxes, pieces, threads, SIMD targets with fused multiply-add,
// which outputs are wanted, where the buffers lie, other computations at the same time.
#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "core/exec/loss_run.h"
#include "core/kernels/targets.h"
#include "core/plan/loss_plan.h"
#include "gtest/gtest.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/core/matchers.h"
#include "tests/core/simd_targets.h"

namespace lossd::oracle {
namespace {

#define EXPECT_SAME_ANSWER(a, b) \
  EXPECT_EQ(BitDifference(a, b), "") << "LOSSD_TEST_SEED=" << TestSeed()

// A case with every option that has an effect, large enough to be cut into many work units.
LossCase RichCase(const Loss& loss, DType dtype, std::vector<int64_t> shape, TargetKind kind,
                  Random& random) {
  LossCase c;
  c.spec.loss = loss;
  c.spec.class_axis = 1;
  c.spec.outputs = AllOutputs(loss);
  c.spec.label_smoothing = random.Pick({0.0, 0.1});
  c.spec.reduction = random.Pick({Reduction::kPositions, Reduction::kWeightSum});
  const auto uniform = [&](Real low, Real high) {
    return [&random, low, high](int64_t) { return random.Uniform(low, high); };
  };
  c.predictions = OwnedTensor::Make(dtype, shape, Layout::kRowMajor,
                                    [&](int64_t) { return TypicalPrediction(loss, random); });
  const std::vector<int64_t> labels = LabelShape(shape, 1, true);
  c.target_kind = kind;
  if (kind == TargetKind::kClassIndices) {
    c.spec.ignore_labels = {2};
    c.targets = OwnedTensor::Make(DType::kI32, labels, Layout::kRowMajor,
                                  [&](int64_t) { return Real(random.Below(shape[1])); });
  } else {
    c.targets = OwnedTensor::Make(DType::kF32, shape, Layout::kRowMajor, uniform(0, 1));
  }
  c.class_weights = OwnedTensor::Make(DType::kF32, shape, Layout::kRowMajor, uniform(0.1L, 2));
  c.position_weights = OwnedTensor::Make(DType::kF64, labels, Layout::kRowMajor, uniform(0, 2));
  c.upstream_gradient = OwnedTensor::Make(DType::kF32, labels, Layout::kRowMajor, uniform(-1, 1));
  return c;
}

// Classes together; apart with a long inner extent; apart with a short one.
std::vector<std::vector<int64_t>> Shapes() { return {{301, 67}, {5, 23, 131}, {37, 19, 3}}; }

// All losses, and softmax with options.
std::vector<Loss> RichLosses() {
  std::vector<Loss> losses = kLosses;
  losses.emplace_back(SoftmaxLoss{.lse_square_scale = 0.01, .focal_gamma = 1.5});
  losses.emplace_back(SoftmaxLoss{
      .lse_square_scale = 0.01, .soft_cap = 5, .temperature = 0.5, .entropy_bonus = 0.25});
  return losses;
}

bool IsFocal(const Loss& loss) {
  const auto* softmax = std::get_if<SoftmaxLoss>(&loss);
  return softmax != nullptr && softmax->focal_gamma;
}

template <class Visit>
void ForEachRichCase(uint64_t stream, Visit&& visit) {
  Random random(stream);
  for (const Loss& loss : RichLosses()) {
    for (const DType dtype : kFloatDTypes) {
      for (const std::vector<int64_t>& shape : Shapes()) {
        for (const TargetKind kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
          LossCase c = RichCase(loss, dtype, shape, kind, random);
          if (IsFocal(loss)) {
            if (kind != TargetKind::kClassIndices) continue;
            c.spec.label_smoothing = 0;
          }
          visit(std::move(c), random);
        }
      }
    }
  }
}

// ------------------------------------------------------------------------ boxes and pieces

// Cuts [0, outer) x [0, inner) into boxes at random.
void Cut(const Box& box, int depth, Random& random, std::vector<Box>& boxes) {
  const bool by_outer = random.OneIn(2);
  const int64_t count = by_outer ? box.outer_count : box.inner_count;
  if (depth == 0 || count < 2) {
    boxes.push_back(box);
    return;
  }
  const int64_t first = 1 + random.Below(count - 1);
  Box left = box;
  Box right = box;
  if (by_outer) {
    left.outer_count = first;
    right.outer_begin += first;
    right.outer_count -= first;
  } else {
    left.inner_count = first;
    right.inner_begin += first;
    right.inner_count -= first;
  }
  Cut(left, depth - 1, random, boxes);
  Cut(right, depth - 1, random, boxes);
}

// Visits the elements of a box of a tensor with `classes` classes (1: of the positions) in the
// packed order: (element in the packed box, element in the whole tensor).
template <class Visit>
void ForEachInBox(const Box& box, const LossPlan& plan, int64_t classes, Visit&& visit) {
  int64_t packed = 0;
  for (int64_t o = box.outer_begin; o < box.outer_begin + box.outer_count; ++o) {
    for (int64_t k = 0; k < classes; ++k) {
      for (int64_t i = box.inner_begin; i < box.inner_begin + box.inner_count; ++i) {
        visit(packed++, (o * classes + k) * plan.inner() + i);
      }
    }
  }
}

using Bytes = std::vector<std::byte>;

Bytes Pack(const Box& box, const LossPlan& plan, const OwnedTensor& tensor) {
  const int64_t size = SizeOf(tensor.desc.dtype);
  Bytes packed;
  ForEachInBox(box, plan, plan.classes(), [&](int64_t, int64_t from) {
    packed.insert(packed.end(), tensor.bytes.begin() + from * size,
                  tensor.bytes.begin() + (from + 1) * size);
  });
  return packed;
}

void Unpack(const Box& box, const LossPlan& plan, int64_t classes, const GuardedBuffer& packed,
            GuardedBuffer& whole) {
  if (packed.bytes().empty()) return;
  const int64_t size = static_cast<int64_t>(whole.bytes().size()) / (plan.positions() * classes);
  ForEachInBox(box, plan, classes, [&](int64_t from, int64_t to) {
    std::memcpy(whole.span().data() + to * size, packed.bytes().data() + from * size, size);
  });
}

// How the bytes of an input are laid out over pieces.
using Scatter = ScatteredBytes (*)(const Bytes&, Random&);
ScatteredBytes InOnePiece(const Bytes& bytes, Random&) { return ScatteredBytes(bytes); }
ScatteredBytes ByteByByte(const Bytes& bytes, Random&) {
  ScatteredBytes scattered;
  for (const std::byte& b : bytes) scattered.Append(ByteSpan(&b, 1));
  return scattered;
}
ScatteredBytes InRandomPieces(const Bytes& bytes, Random& random) {
  ScatteredBytes scattered;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t length =
        std::min<size_t>(bytes.size() - begin, random.Below(random.OneIn(3) ? 9 : 2000));
    scattered.Append(ByteSpan(bytes.data() + begin, length));
    begin += length;
  }
  return scattered;
}

absl::StatusOr<LossRun> PrepareRun(const LossCase& c, Executor& executor) {
  const LossInputs in = c.inputs();
  LossTensorDescs descs;
  descs.predictions = in.predictions.desc;
  descs.target_kind = in.target_kind;
  descs.targets = in.targets.desc;
  SideBytes side;
  const auto add = [](const std::optional<TensorView>& view, std::optional<TensorDesc>& desc,
                      ByteSpan& bytes) {
    if (!view) return;
    desc = view->desc;
    bytes = view->bytes;
  };
  add(in.class_weights, descs.class_weights, side.class_weights);
  add(in.position_weights, descs.position_weights, side.position_weights);
  add(in.upstream_gradient, descs.upstream_gradient, side.upstream_gradient);
  absl::StatusOr<LossPlan> plan = LossPlan::Make(c.spec, descs);
  if (!plan.ok()) return plan.status();
  if (plan->targets_come_whole()) side.targets = in.targets.bytes;
  return LossRun::Prepare(*std::move(plan), side, executor);
}

// The answer put together from boxes.
CoreAnswer RunBoxes(const LossCase& c, int depth, Scatter scatter, Random& random,
                    Executor& executor = TestExecutor()) {
  CoreAnswer answer;
  const absl::StatusOr<LossRun> run = PrepareRun(c, executor);
  answer.status = run.status();
  if (!run.ok()) return answer;
  const LossPlan& plan = run->plan();
  answer.outputs = CoreOutputs::For(c);
  std::vector<Box> boxes;
  Cut(plan.whole(), depth, random, boxes);
  PartialSums sums;
  for (const Box& box : boxes) {
    const LossPlan::BoxBytes sizes = plan.BytesOf(box);
    CoreOutputs out;
    out.gradient = GuardedBuffer(sizes.gradient, random.Below(8));
    out.position_losses = GuardedBuffer(sizes.position_losses);
    out.log_sum_exp = GuardedBuffer(sizes.log_sum_exp, 3);
    out.argmax_hits = GuardedBuffer(sizes.argmax_hits);
    out.probabilities = GuardedBuffer(sizes.probabilities, 1);
    out.label_log_probabilities = GuardedBuffer(sizes.label_log_probabilities);
    out.entropy = GuardedBuffer(sizes.entropy);
    out.label_rank = GuardedBuffer(sizes.label_rank);
    const Bytes predictions = Pack(box, plan, c.predictions);
    const Bytes targets = plan.targets_come_whole() ? Bytes() : Pack(box, plan, c.targets);
    const BoxInputs in = {scatter(predictions, random), scatter(targets, random)};
    const absl::StatusOr<PartialSums> part = run->RunBox(box, in, out.spans(), executor);
    answer.status = part.status();
    if (!part.ok()) return answer;
    EXPECT_TRUE(out.intact());
    sums.Merge(*part);
    Unpack(box, plan, plan.classes(), out.gradient, answer.outputs.gradient);
    Unpack(box, plan, 1, out.position_losses, answer.outputs.position_losses);
    Unpack(box, plan, 1, out.log_sum_exp, answer.outputs.log_sum_exp);
    Unpack(box, plan, 1, out.argmax_hits, answer.outputs.argmax_hits);
    Unpack(box, plan, plan.classes(), out.probabilities, answer.outputs.probabilities);
    Unpack(box, plan, 1, out.label_log_probabilities, answer.outputs.label_log_probabilities);
    Unpack(box, plan, 1, out.entropy, answer.outputs.entropy);
    Unpack(box, plan, 1, out.label_rank, answer.outputs.label_rank);
  }
  answer.result = run->Finish(sums);
  return answer;
}

TEST(Determinism, BoxesDoNotShow) {
  ForEachRichCase(4000, [](const LossCase& c, Random& random) {
    const CoreAnswer whole = RunCore(c);
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 0, InOnePiece, random));
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 3, InOnePiece, random)) << Describe(c);
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 6, InOnePiece, random)) << Describe(c);
  });
}

TEST(Determinism, PiecesDoNotShow) {
  ForEachRichCase(4001, [](const LossCase& c, Random& random) {
    const CoreAnswer whole = RunCore(c);
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 1, ByteByByte, random)) << Describe(c);
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 2, InRandomPieces, random)) << Describe(c);
  });
}

TEST(Determinism, AlignmentDoesNotShow) {
  ForEachRichCase(4002, [](const LossCase& c, Random& random) {
    const CoreAnswer whole = RunCore(c);
    EXPECT_SAME_ANSWER(whole, RunCore(c, TestExecutor(), 1 + random.Below(63)));
  });
}

// Where nothing is wanted of an image but its gradient, a tile is longer than elsewhere.
TEST(Determinism, LongTilesDoNotShow) {
  Random random(4003);
  for (const DType dtype : kFloatDTypes) {
    const std::vector<int64_t> shape = {2, 5, 4321};
    LossCase c = RichCase(SoftmaxLoss{}, dtype, shape, TargetKind::kClassIndices, random);
    c.spec.label_smoothing = 0;
    c.spec.outputs = {};
    const CoreAnswer whole = RunCore(c);
    EXPECT_EQ(Disagreement(c, Compute(c.spec, c.inputs()), whole), "");
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 4, InOnePiece, random)) << Describe(c);
    EXPECT_SAME_ANSWER(whole, RunBoxes(c, 1, InRandomPieces, random)) << Describe(c);
    c.spec.outputs = AllOutputs(SoftmaxLoss{});
    EXPECT_THAT(RunCore(c).outputs.gradient.bytes(), SameBits(whole.outputs.gradient.bytes()));
  }
}

// ------------------------------------------------------------------------ threads and targets

// Executors limit the threads of the whole process, the smallest one alive the most: one at a time.
CoreAnswer RunWithThreads(const LossCase& c, int threads) {
  Executor executor(threads);
  return RunCore(c, executor);
}

TEST(Determinism, ThreadsDoNotShow) {
  Random random(4010);
  for (const Loss& loss : kLosses) {
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{1500, 300}, {6, 50, 1777}, {2, 90001}}) {
      for (const TargetKind kind : {TargetKind::kClassIndices, TargetKind::kClassProbabilities}) {
        const LossCase c = RichCase(loss, DType::kF32, shape, kind, random);
        const CoreAnswer one = RunWithThreads(c, 1);
        for (const int threads : {2, 3, 8, 8, 3, 2}) {
          EXPECT_SAME_ANSWER(one, RunWithThreads(c, threads)) << threads << " threads";
        }
      }
    }
  }
}

TEST(Determinism, OtherComputationsAtTheSameTimeDoNotShow) {
  Random random(4011);
  std::vector<LossCase> cases;
  for (const Loss& loss : kLosses) {
    for (const auto& shape : Shapes()) {
      cases.push_back(RichCase(loss, DType::kF32, shape, TargetKind::kClassIndices, random));
    }
  }
  std::vector<CoreAnswer> alone;
  alone.reserve(cases.size());
  for (const LossCase& c : cases) alone.push_back(RunCore(c));
  std::vector<CoreAnswer> together(cases.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < cases.size(); ++i) {
    threads.emplace_back([&, i] { together[i] = RunCore(cases[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < cases.size(); ++i) EXPECT_SAME_ANSWER(alone[i], together[i]);
}

TEST(Targets, WithFusedMultiplyAddGiveTheSameBitsAndTheOthersStayInBounds) {
  const TargetGuard guard;
  const std::vector<std::string> targets = kernels::SupportedTargets();
  ASSERT_FALSE(targets.empty());
  std::string tried;
  for (const std::string& target : targets) tried += target + " ";
  std::printf("targets: %s\n", tried.c_str());
  ForEachRichCase(4020, [&](const LossCase& c, Random&) {
    const Answer oracle = Compute(c.spec, c.inputs());
    std::optional<CoreAnswer> fused;
    for (const std::string& target : targets) {
      ASSERT_TRUE(kernels::ForceTarget(target));
      EXPECT_EQ(kernels::ActiveTarget(), target);
      CoreAnswer answer = RunCore(c);
      EXPECT_EQ(Disagreement(c, oracle, answer), "") << target;
      if (!HasFma(target)) continue;
      if (fused) {
        EXPECT_SAME_ANSWER(*fused, answer) << target << "\n" << Describe(c);
      }
      fused = std::move(answer);
    }
  });
}

// NaNs of any sign and payload, several of them in some rows.
void Poison(LossCase& c, Random& random) {
  const int64_t size = SizeOf(c.predictions.desc.dtype);
  const bool bf16 = c.predictions.desc.dtype == DType::kBF16;
  for (size_t at = 0; at + size <= c.predictions.bytes.size(); at += size) {
    if (!random.OneIn(20)) continue;
    // The bits of the exponent and the one that says quiet, before whatever else.
    auto bits = static_cast<uint64_t>(random.Below(int64_t{1} << 40)) << 24;
    bits |= size == 8 ? 0x7ff8ULL << 48 : size == 4 || bf16 ? 0x7fcULL << 52 : 0x7eULL << 56;
    for (int64_t i = 0; i < size; ++i) {
      c.predictions.bytes[at + i] = static_cast<std::byte>(bits >> (64 - 8 * (size - i)));
    }
  }
}

TEST(Targets, ThatGiveTheSameBitsGiveTheSameNaNs) {
  const TargetGuard guard;
  ForEachRichCase(4029, [&](LossCase c, Random& random) {
    Poison(c, random);
    std::optional<CoreAnswer> first;
    for (const std::string& target : kernels::SupportedTargets()) {
      if (!HasFma(target)) continue;
      ASSERT_TRUE(kernels::ForceTarget(target));
      CoreAnswer answer = RunCore(c);
      if (first) {
        EXPECT_SAME_ANSWER(*first, answer) << target << Describe(c);
      } else {
        first = std::move(answer);
      }
    }
  });
}

TEST(Targets, AnUnknownNameIsRefusedAndChangesNothing) {
  const TargetGuard guard;
  EXPECT_FALSE(kernels::ForceTarget("AVX9000"));
  EXPECT_FALSE(kernels::ForceTarget(""));
  EXPECT_EQ(kernels::ActiveTarget(), guard.active);
}

// ------------------------------------------------------------------------ outputs

TEST(Determinism, OtherOutputsDoNotShow) {
  ForEachRichCase(4030, [](const LossCase& c, Random&) {
    if (SizeOf(c.predictions.desc.dtype) == 2) return;
    const CoreAnswer all = RunCore(c);
    const bool softmax = std::holds_alternative<SoftmaxLoss>(c.spec.loss);
    for (int draw = 0; draw < 37; ++draw) {
      // Of those behind the first five: one, or all.
      const int wanted = draw < 32 ? draw : std::array{32, 64, 128, 225, 255}[draw - 32];
      LossCase some = c;
      some.spec.outputs = {.gradient = (wanted & 1) != 0,
                           .position_losses = (wanted & 2) != 0,
                           .log_sum_exp = (wanted & 4) != 0,
                           .argmax_hits = (wanted & 8) != 0,
                           .probabilities = (wanted & 16) != 0,
                           .label_log_probabilities = (wanted & 32) != 0,
                           .entropy = (wanted & 64) != 0,
                           .label_rank = (wanted & 128) != 0};
      if (!softmax && (wanted & 244) != 0) continue;
      const CoreAnswer part = RunCore(some);
      ASSERT_TRUE(part.status.ok()) << part.status;
      // Counted only where hits are wanted.
      CoreAnswer expected = all;
      if (!some.spec.outputs.argmax_hits) expected.result.exact.correct_count = 0;
      EXPECT_EQ(BitDifference(expected, part, /*compare_outputs=*/false), "") << wanted;
      const auto same_or_empty = [](const GuardedBuffer& got, const GuardedBuffer& want) {
        return got.bytes().empty() || ::testing::Value(got.bytes(), SameBits(want.bytes()));
      };
      EXPECT_TRUE(same_or_empty(part.outputs.gradient, all.outputs.gradient)) << wanted;
      EXPECT_TRUE(same_or_empty(part.outputs.position_losses, all.outputs.position_losses));
      EXPECT_TRUE(same_or_empty(part.outputs.log_sum_exp, all.outputs.log_sum_exp)) << wanted;
      EXPECT_TRUE(same_or_empty(part.outputs.argmax_hits, all.outputs.argmax_hits)) << wanted;
      EXPECT_TRUE(same_or_empty(part.outputs.probabilities, all.outputs.probabilities)) << wanted;
      EXPECT_TRUE(
          same_or_empty(part.outputs.label_log_probabilities, all.outputs.label_log_probabilities))
          << wanted;
      EXPECT_TRUE(same_or_empty(part.outputs.entropy, all.outputs.entropy)) << wanted;
      EXPECT_TRUE(same_or_empty(part.outputs.label_rank, all.outputs.label_rank)) << wanted;
    }
  });
}

// The gradient overwrites the predictions, in their dtype or in the other of the same size.
TEST(Determinism, InPlaceDoesNotShow) {
  ForEachRichCase(4031, [](LossCase c, Random& random) {
    const DType in = c.predictions.desc.dtype;
    if (random.OneIn(2) && in == DType::kF16) c.spec.gradient_dtype = DType::kBF16;
    if (random.OneIn(2) && in == DType::kBF16) c.spec.gradient_dtype = DType::kF16;
    const CoreAnswer apart = RunCore(c);
    CoreAnswer in_place;
    in_place.outputs = CoreOutputs::For(c, random.Below(16));
    MutableByteSpan memory = in_place.outputs.gradient.span();
    std::memcpy(memory.data(), c.predictions.bytes.data(), memory.size());
    LossInputs inputs = c.inputs();
    inputs.predictions.bytes = memory;
    const absl::StatusOr<LossResult> result =
        ComputeLoss(c.spec, inputs, in_place.outputs.spans(), TestExecutor());
    in_place.status = result.status();
    if (result.ok()) in_place.result = *result;
    EXPECT_SAME_ANSWER(apart, in_place) << Describe(c);
    EXPECT_TRUE(in_place.outputs.intact());
  });
}

}  // namespace
}  // namespace lossd::oracle
