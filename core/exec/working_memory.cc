#include "core/exec/working_memory.h"

#include <algorithm>

#include "core/exec/box_job.h"
#include "core/exec/cut.h"
#include "core/exec/dense_targets.h"
#include "core/exec/family.h"
#include "core/exec/reals.h"

// No product here overflows: there are at most 2^31 classes (kMaxClasses), and at most 2^12
// positions in a stretch.

namespace lossd {
namespace {

// More than any of the arrays over positions together: Positions, LabelledArrays, sums of rows,
// losses and coefficients.
constexpr int64_t kBytesPerPosition = 256;
// The slack of all arrays (Scratch::Get).
constexpr int64_t kSlackBytes = int64_t{1} << 13;

int64_t SizeOf(kernels::Compute compute) { return compute == kernels::Compute::kFloat ? 4 : 8; }

// A tile of RunSoftmaxTiles: blocks of exponentials, and predictions that come in pieces.
int64_t TileBytes(const LossPlan& plan, const Cut& cut, bool one_piece) {
  const bool one_pass = OnePassSuffices(plan);
  const kernels::Real real = RealOf(plan.dtype());
  const int64_t most = one_pass && one_piece ? kLongTile : cut.tile;
  const int64_t width = std::min({most, cut.unit, cut.positions});
  const int64_t elements = plan.classes() * kernels::kTileBlock * BlocksKept(width, one_pass);
  const int64_t gathered = one_piece ? 0 : plan.classes() * width * kernels::SizeOf(real);
  return elements * SizeOf(ComputeOf(real)) + gathered + width * kBytesPerPosition + kSlackBytes;
}

// What dense targets become: MakeCoefficients.
int64_t CoefficientBytes(const LossPlan& plan, int64_t elements) {
  if (plan.one_class() || AreTargetsCoefficients(plan)) return 0;
  if (CoefficientCompute(plan) == kernels::Compute::kDouble) return elements * 8;
  return elements * 4 + plan.classes() * 8;  // and one row in double
}

// Exponentials of softmax, or the gradient of one row.
int64_t ExponentialBytes(const LossPlan& plan, int64_t elements) {
  if (FamilyOf(plan.spec().loss) != Family::kSoftmax) return plan.classes() * 8;
  if (CanFuse(plan)) return 2 * plan.classes() * 4;
  return elements * SizeOf(ComputeOf(RealOf(plan.dtype())));
}

// A stretch of rows, or of lanes that are turned into rows: RowTile, and what is made of it.
int64_t RowBytes(const LossPlan& plan, const Cut& cut) {
  const int64_t rows = std::min(cut.stretch, cut.positions);
  const int64_t elements = rows * plan.classes();
  const int64_t turned = cut.rows ? 1 : 2;
  int64_t bytes = elements * SizeOf(plan.dtype()) * turned;
  if (!plan.hard_targets()) bytes += elements * SizeOf(plan.tensors().targets.dtype) * turned;
  bytes += ExponentialBytes(plan, elements) + CoefficientBytes(plan, elements);
  if (!cut.rows && plan.outputs().gradient) bytes += elements * SizeOf(plan.gradient_dtype());
  if (!cut.rows && plan.outputs().probabilities) bytes += elements * SizeOf(plan.dtype());
  const int64_t chunks = kernels::Chunks(ComputeOf(RealOf(plan.dtype())), plan.classes());
  constexpr int64_t kBytesPerChunk = 2 * 8;  // its scale and factor
  return bytes + rows * (chunks * kBytesPerChunk + kBytesPerPosition) + kSlackBytes;
}

// Of one thread.
int64_t ScratchBytes(const LossPlan& plan, bool one_piece) {
  const Cut cut = CutBox(plan, plan.whole(), one_piece);
  if (IsTiled(plan)) return TileBytes(plan, cut, one_piece);
  // RunPicked: nothing beside the positions.
  if (plan.one_class() && FamilyOf(plan.spec().loss) == Family::kPick) return 0;
  return RowBytes(plan, cut);
}

// What ClassWeights holds.
int64_t ClassWeightBytes(const LossPlan& plan) {
  if (!plan.has_class_weights()) return 0;
  const ClassWeightsPlan& weights = plan.class_weights();
  const bool global = weights.normalization == WeightNormalization::kGlobal;
  const int64_t sums = global ? weights.samples : weights.outer * weights.inner;
  const bool table = weights.outer == 1 && weights.inner == 1;
  return 8 * (sums + (table ? plan.classes() : 0));
}

}  // namespace

int64_t WorkingBytes(const LossPlan& plan, int threads) {
  if (plan.positions() == 0) return ClassWeightBytes(plan);
  const int64_t scratch = std::max(ScratchBytes(plan, true), ScratchBytes(plan, false));
  const int64_t at_once = std::min<int64_t>(threads, plan.positions());
  return ClassWeightBytes(plan) + at_once * std::max<int64_t>(scratch - kKeptScratchBytes, 0);
}

}  // namespace lossd
