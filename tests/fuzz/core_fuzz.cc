// The core against the oracle, on any bits, with every buffer exactly as large as it is said to be;
// then again in boxes, from scattered pieces, on another SIMD target: the same bits.
//   input: the factors of a case, a seed for its options, the bits of predictions and upstream

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/exec/loss_run.h"
#include "core/exec/simd.h"
#include "tests/core/case_maker.h"
#include "tests/core/core_run.h"
#include "tests/fuzz/input.h"

namespace lossd::fuzz {
namespace {

using oracle::CoreAnswer;
using oracle::CoreOutputs;
using oracle::Factors;
using oracle::LossCase;
using oracle::OwnedTensor;
using oracle::Random;
using oracle::WeightsForm;

Executor& TwoThreads() {
  static Executor executor(2);
  return executor;
}

// Losses over elements that take any values as targets, and no further tensors.
const std::vector<Loss>& PlainElementLosses() {
  static const auto& plain = *new std::vector<Loss>([] {
    std::vector<Loss> losses;
    for (const Loss& loss : oracle::kElementLosses) {
      const bool usual = FactsOf(loss).tensors.data() == std::data(kElementTensors);
      if (usual && TargetsOf(loss) == TargetRange::kAny) losses.push_back(loss);
    }
    return losses;
  }());
  return plain;
}

Factors AnyFactors(Input& input, bool of_elements) {
  const std::vector<Loss>& losses = of_elements ? PlainElementLosses() : oracle::kLosses;
  Factors factors;
  factors.loss = losses[input.Below(static_cast<int64_t>(losses.size()))];
  factors.dtype = oracle::kFloatDTypes[input.Below(4)];
  factors.layout = input.Flag() ? Layout::kColumnMajor : Layout::kRowMajor;
  factors.rank = static_cast<int>(1 + input.Below(5));
  factors.axis = static_cast<int>(input.Below(factors.rank));
  factors.weights = static_cast<WeightsForm>(input.Below(4));
  factors.normalization = static_cast<WeightNormalization>(1 + input.Below(3));
  factors.reduction = static_cast<Reduction>(1 + input.Below(7));
  factors.target_kind = input.Flag() ? TargetKind::kClassProbabilities : TargetKind::kClassIndices;
  if (of_elements) factors.target_kind = TargetKind::kTargetValues;
  factors.label_dtype = kAllDTypes[input.Below(12)];
  return factors;
}

// The elements become bits of the input, as far as there are some.
void TakeBits(OwnedTensor& tensor, Input& input) {
  const std::string bits = input.Bytes(tensor.bytes.size());
  std::transform(bits.begin(), bits.end(), tensor.bytes.begin(),
                 [](char c) { return static_cast<std::byte>(c); });
}

// A case whose shape has a length of rows of the input's choice, on both sides of all vectors.
LossCase AnyCase(Input& input, bool of_elements) {
  const Factors factors = AnyFactors(input, of_elements);
  if (!factors.valid()) return {};
  Random random(input.Number(4));
  LossCase c;
  if (factors.weights == WeightsForm::kNone && input.Byte() % 4 == 0) {
    c = oracle::TypicalCase(factors.loss, factors.dtype,
                            {1 + input.Below(3), 1 + input.Below(70), 1 + input.Below(40)},
                            factors.target_kind, random);
  } else {
    c = oracle::MakeCase(factors, random);
  }
  if (input.Byte() % 4 == 0) c.spec.non_finite_policy = NonFinitePolicy::kError;
  TakeBits(c.predictions, input);
  if (of_elements) TakeBits(c.targets, input);  // any value is one
  if (c.upstream_gradient) TakeBits(*c.upstream_gradient, input);
  return c;
}

// Memory in which a sanitizer sees one byte too many.
class Exact {
 public:
  explicit Exact(MutableByteSpan home)
      : home_(home), bytes_(std::make_unique<std::byte[]>(home.size())) {
    std::copy(home.begin(), home.end(), bytes_.get());
  }
  MutableByteSpan span() { return {bytes_.get(), home_.size()}; }
  void Return() { std::copy_n(bytes_.get(), home_.size(), home_.begin()); }

 private:
  MutableByteSpan home_;
  std::unique_ptr<std::byte[]> bytes_;
};

CoreAnswer RunWhole(const LossCase& c) {
  CoreAnswer answer;
  answer.outputs = CoreOutputs::For(c);
  const LossOutputs home = answer.outputs.spans();
  Exact gradient(home.gradient), losses(home.position_losses), sums(home.log_sum_exp),
      hits(home.argmax_hits), probabilities(home.probabilities),
      label_log_probabilities(home.label_log_probabilities), entropy(home.entropy),
      label_rank(home.label_rank);
  const absl::StatusOr<LossResult> result =
      ComputeLoss(c.spec, c.inputs(),
                  {gradient.span(), losses.span(), sums.span(), hits.span(), probabilities.span(),
                   label_log_probabilities.span(), entropy.span(), label_rank.span()},
                  TwoThreads());
  for (Exact* buffer : {&gradient, &losses, &sums, &hits, &probabilities, &label_log_probabilities,
                        &entropy, &label_rank})
    buffer->Return();
  answer.status = result.status();
  if (result.ok()) answer.result = *result;
  return answer;
}

// A box of a tensor [outer][rows][inner], packed, in pieces that each end where their memory ends.
class Scattered {
 public:
  Scattered(ByteSpan tensor, const LossPlan& plan, const Box& box, DType dtype, Random& random) {
    const int64_t size = SizeOf(dtype);
    std::vector<std::byte> packed;
    for (int64_t row = 0; row < box.outer_count * plan.classes(); ++row) {
      const int64_t first =
          ((box.outer_begin * plan.classes() + row) * plan.inner() + box.inner_begin) * size;
      const ByteSpan run = tensor.subspan(first, box.inner_count * size);
      packed.insert(packed.end(), run.begin(), run.end());
    }
    for (size_t at = 0; at < packed.size();) {
      const size_t piece = std::min<size_t>(packed.size() - at, 1 + random.Below(40));
      pieces_.push_back(std::make_unique<std::byte[]>(piece));
      std::copy_n(packed.begin() + at, piece, pieces_.back().get());
      bytes_.Append({pieces_.back().get(), piece});
      at += piece;
    }
  }
  const ScatteredBytes& bytes() const { return bytes_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> pieces_;
  ScatteredBytes bytes_;
};

// The bytes of an output of one box go to their places in the whole.
void Place(const std::vector<std::byte>& packed, const LossPlan& plan, const Box& box, int64_t rows,
           MutableByteSpan whole) {
  if (packed.empty()) return;
  const int64_t count = box.outer_count * rows;
  const int64_t run = static_cast<int64_t>(packed.size()) / count;
  const int64_t size = run / box.inner_count;
  for (int64_t row = 0; row < count; ++row) {
    const int64_t to = ((box.outer_begin * rows + row) * plan.inner() + box.inner_begin) * size;
    std::copy_n(packed.begin() + row * run, run, whole.begin() + to);
  }
}

absl::StatusOr<PartialSums> RunBox(const LossRun& run, const Box& box, const LossInputs& inputs,
                                   const LossOutputs& whole, Random& random) {
  const LossPlan& plan = run.plan();
  const Scattered predictions(inputs.predictions.bytes, plan, box, plan.dtype(), random);
  BoxInputs in{.predictions = predictions.bytes()};
  std::unique_ptr<Scattered> targets;
  if (!plan.targets_come_whole()) {
    targets = std::make_unique<Scattered>(inputs.targets.bytes, plan, box,
                                          inputs.targets.desc.dtype, random);
    (plan.of_elements() ? in.target_values : in.class_probabilities) = targets->bytes();
  }
  const LossPlan::BoxBytes bytes = plan.BytesOf(box);
  std::vector<std::byte> gradient(bytes.gradient), losses(bytes.position_losses),
      sums(bytes.log_sum_exp), hits(bytes.argmax_hits), probabilities(bytes.probabilities),
      label_log_probabilities(bytes.label_log_probabilities), entropy(bytes.entropy),
      label_rank(bytes.label_rank);
  absl::StatusOr<PartialSums> partial = run.RunBox(
      box, in,
      {absl::MakeSpan(gradient), absl::MakeSpan(losses), absl::MakeSpan(sums), absl::MakeSpan(hits),
       absl::MakeSpan(probabilities), absl::MakeSpan(label_log_probabilities),
       absl::MakeSpan(entropy), absl::MakeSpan(label_rank)},
      TwoThreads());
  Place(gradient, plan, box, plan.classes(), whole.gradient);
  Place(losses, plan, box, plan.of_elements() ? plan.classes() : 1, whole.position_losses);
  Place(sums, plan, box, 1, whole.log_sum_exp);
  Place(hits, plan, box, 1, whole.argmax_hits);
  Place(probabilities, plan, box, plan.classes(), whole.probabilities);
  Place(label_log_probabilities, plan, box, 1, whole.label_log_probabilities);
  Place(entropy, plan, box, 1, whole.entropy);
  Place(label_rank, plan, box, 1, whole.label_rank);
  return partial;
}

std::vector<Box> Cut(const LossPlan& plan, Random& random) {
  const int64_t outer = 1 + random.Below(plan.outer());
  const int64_t inner = 1 + random.Below(plan.inner());
  std::vector<Box> boxes;
  for (int64_t o = 0; o < plan.outer(); o += outer) {
    for (int64_t i = 0; i < plan.inner(); i += inner) {
      boxes.push_back({o, std::min(outer, plan.outer() - o), i, std::min(inner, plan.inner() - i)});
    }
  }
  return boxes;
}

CoreAnswer RunInBoxes(const LossCase& c, Random& random) {
  CoreAnswer answer;
  answer.outputs = CoreOutputs::For(c);
  const LossInputs inputs = c.inputs();
  const auto bytes = [](const auto& view) { return view ? view->bytes : ByteSpan(); };
  absl::StatusOr<LossPlan> plan = LossPlan::Make(c.spec, DescsOf(inputs));
  answer.status = plan.status();
  if (!plan.ok()) return answer;
  SideBytes side = {.class_weights = bytes(inputs.class_weights),
                    .position_weights = bytes(inputs.position_weights),
                    .upstream_gradient = bytes(inputs.upstream_gradient)};
  if (plan->targets_come_whole()) side.targets = inputs.targets.bytes;
  const auto run = LossRun::Prepare(*std::move(plan), side, TwoThreads());
  answer.status = run.status();
  if (!run.ok()) return answer;
  PartialSums sums;
  for (const Box& box : Cut(run->plan(), random)) {
    const auto partial = RunBox(*run, box, inputs, answer.outputs.spans(), random);
    answer.status.Update(partial.status());
    if (partial.ok()) sums.Merge(*partial);
  }
  answer.result = run->Finish(sums);
  return answer;
}

// Targets of this CPU that promise the same bits.
const std::vector<std::string>& SameBitTargets() {
  static const auto& targets = *new std::vector<std::string>([] {
    std::vector<std::string> found;
    for (const char* name : {"AVX3", "AVX2"}) {
      if (ForceSimdTarget(name).ok()) found.emplace_back(name);
    }
    return found;
  }());
  return targets;
}

}  // namespace

void TestOne(Input input) {
  const std::vector<std::string>& targets = SameBitTargets();
  const uint8_t target = input.Byte();
  const LossCase c = AnyCase(input, /*of_elements=*/target / 4 % 8 == 6);
  if (c.predictions.desc.shape.empty()) return;  // no such request
  Random random(input.Number(4));

  if (!targets.empty()) ForceSimdTarget(targets[target % targets.size()]).IgnoreError();
  const CoreAnswer whole = RunWhole(c);
  const std::string disagreement = oracle::Disagreement(c, whole);
  Require(disagreement.empty(), disagreement);

  if (!targets.empty()) ForceSimdTarget(targets[(target / 2) % targets.size()]).IgnoreError();
  const CoreAnswer boxes = RunInBoxes(c, random);
  Require(
      whole.status.ok() == boxes.status.ok(),
      absl::StrCat("whole: ", whole.status.ToString(), "; in boxes: ", boxes.status.ToString()));
  if (!whole.status.ok()) return;
  const std::string difference = oracle::BitDifference(whole, boxes);
  Require(difference.empty(), absl::StrCat("in boxes: ", difference, "\nin ", oracle::Describe(c)));
}

}  // namespace lossd::fuzz
