// Losses of Family::kElements: every element of a box counts by itself.
//
//   cut      the elements of a packed box as they lie, whatever its shape
//   scratch  a few numbers of each element of a stretch
//   run      widens predictions and targets, calls the loss's head, scales its slopes

#include "core/exec/elements.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <variant>
#include <vector>

#include "core/exec/cut.h"
#include "core/exec/position_sums.h"
#include "core/exec/runner.h"
#include "core/exec/visit_elements.h"
#include "core/kernels/heads-inl.h"

namespace lossd {
namespace {

using kernels::Compute;

constexpr int64_t kStretchElements = kernels::kMaxExactTerms;
static_assert(kUnitElements % kStretchElements == 0 && kLargeUnitElements % kStretchElements == 0);

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Cut CutElements(const LossPlan& plan, const Box& box, bool) {
  const int64_t elements = box.outer_count * plan.classes() * box.inner_count;
  Cut cut;
  cut.rows = true;
  cut.positions = elements;
  cut.planes = 1;
  cut.unit = elements >= kLargeBoxElements ? kLargeUnitElements : kUnitElements;
  cut.tile = kStretchElements;
  cut.stretch = kStretchElements;
  cut.unit_planes = 1;
  cut.units_per_plane = CeilDiv(elements, cut.unit);
  cut.units = cut.units_per_plane;
  return cut;
}

int64_t ScratchBytes(const LossPlan&, bool) { return 0; }  // nothing that grows with the shape

// In float where it holds predictions and targets exactly.
Compute ComputeType(const LossPlan& plan) {
  const DType targets = plan.tensors().targets.dtype;
  const bool narrow = SizeOf(targets) <= 2 || targets == DType::kF32;
  return narrow ? ComputeOf(RealOf(plan.dtype())) : Compute::kDouble;
}

// Elements first .. first + count - 1 of a packed box, in the compute type C.
template <class C>
void LoadElements(const ScatteredBytes& source, DType dtype, int64_t first, int64_t count,
                  Scratch& gathered, C* out) {
  constexpr Compute kCompute = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;
  const int64_t bytes = count * SizeOf(dtype);
  const std::byte* from = source.Contiguous(first * SizeOf(dtype), bytes);
  if (from == nullptr) {
    auto* copy = gathered.Get<std::byte>(bytes);
    source.CopyTo(first * SizeOf(dtype), bytes, copy);
    from = copy;
  }
  if (IsFloating(dtype)) {
    kernels::Active().widen[Index(kCompute)][Index(RealOf(dtype))](from, count, out);
    return;
  }
  VisitElements(dtype, {from, static_cast<size_t>(bytes)}, [&](auto value_at) {
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<C>(value_at(i));
  });
}

// Calls the head of the loss. A loss of the family without a head does not compile.
void CallHead(const Loss& loss, Compute compute, const void* x, const void* t, int64_t count,
              double* losses, void* slopes) {
  std::visit(
      [&]<class L>(const L& of) {
        if constexpr (LossRow<L>::kFamily == Family::kElements) {
          constexpr int kHead = kernels::HWY_NAMESPACE::ElementHeadIndex(LossRow<L>::kName);
          static_assert(kHead < kernels::HWY_NAMESPACE::kElementHeads);
          std::array<double, kOptionCount<L> + 1> options{};
          double* next = options.data();
          ForEachOption<L>([&](const auto& option) { *next++ = OptionNumber(of.*option.member); });
          kernels::Active().elements[kHead][Index(compute)](x, t, count, options.data(), losses,
                                                            slopes);
        }
      },
      loss);
}

template <class C>
void RunElements(const BoxJob& job, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  constexpr Compute kCompute = std::is_same_v<C, float> ? Compute::kFloat : Compute::kDouble;
  const LossPlan& plan = job.run.plan;
  const int64_t first = stretch.o;
  const int64_t count = stretch.count;
  Positions& positions = work.positions;
  positions.LoadElements(job.run, job.box, first, count);

  const int64_t stride = count + kernels::kGroup;
  C* const x = work.exponentials.Get<C>(4 * stride);
  C* const t = x + stride;
  C* const slope = t + stride;
  C* const factor = slope + stride;
  auto* const loss = work.losses.Get<double>(count);
  LoadElements(job.in.predictions, plan.dtype(), first, count, work.gathered, x);
  LoadElements(job.in.target_values, plan.tensors().targets.dtype, first, count,
               work.gathered_targets, t);
  CallHead(plan.spec().loss, kCompute, x, t, count, loss, slope);

  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(x[i]) || (std::isnan(loss[i]) && !std::isnan(t[i]))) {
      unit.CountNonFinite(ElementCursor(plan, job.box, first + i).element());
    }
    // One and the same NaN, whatever NaN it was.
    loss[i] = std::isnan(loss[i]) ? kNaN : positions.weight[i] * loss[i];
  }
  AddPositions(job, positions, first, loss, positions.weight.data(), unit);
  if (job.out.gradient.empty()) return;

  for (int64_t i = 0; i < count; ++i) positions.gradient[i] *= positions.weight[i];
  kernels::Active().narrow_finite[Index(kCompute)](positions.gradient.data(), count, 1.0, factor);
  for (int64_t i = 0; i < count; ++i) {
    // What weighs nothing has no gradient, be its slope infinite or NaN.
    if (factor[i] == 0) slope[i] = 0;
    if (std::isnan(slope[i])) slope[i] = static_cast<C>(kNaN);
  }
  const kernels::Real out = job.run.gradient_real();
  kernels::Active().scale_elements[Index(kCompute)][Index(out)](
      slope, factor, count, job.streaming, job.out.gradient.data() + first * kernels::SizeOf(out));
}

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  if (ComputeType(job.run.plan) == Compute::kFloat) {
    RunElements<float>(job, stretch, work, unit);
  } else {
    RunElements<double>(job, stretch, work, unit);
  }
}

// The sum of `count` equal sums.
ExactSum Times(ExactSum sum, int64_t count) {
  ExactSum product;
  for (; count > 0; count /= 2) {
    if (count % 2 == 1) product.Merge(sum);
    const ExactSum once = sum;
    sum.Merge(once);
  }
  return product;
}

// Without weights of positions, class weights repeat along the tensor.
ExactSum WeightOfClasses(const RunState& run, StopToken stop) {
  const LossPlan& plan = run.plan;
  ExactSum sum;
  if (plan.counted_positions() == 0) return sum;
  if (!run.class_weights.given()) {
    sum.Add(1);
    return Times(sum, plan.counted_positions());
  }
  const ClassWeightsPlan& period = plan.class_weights();
  const int64_t lanes = plan.classes() * period.inner;
  for (int64_t e = 0; kernels::GoesOn(e, period.outer * lanes, stop.flag()); ++e) {
    sum.Add(run.class_weights.At(e / lanes, e % lanes / period.inner, e % period.inner));
  }
  return Times(sum, plan.outer() / period.outer * (plan.inner() / period.inner));
}

}  // namespace

absl::StatusOr<ExactSum> WeightOfElements(const RunState& run, Executor& executor, StopToken stop) {
  if (!run.plan.tensors().position_weights) {
    ExactSum sum = WeightOfClasses(run, stop);
    if (absl::Status status = stop.Check(); !status.ok()) return status;
    return sum;
  }
  const int64_t elements = run.plan.counted_positions();
  const Box whole = run.plan.whole();
  std::vector<ExactSum> units(CeilDiv(elements, kUnitElements));
  const absl::Status status =
      executor.ForEach(static_cast<int64_t>(units.size()), stop, [&](int64_t unit) {
        const int64_t begin = unit * kUnitElements;
        ElementCursor at(run.plan, whole, begin);
        for (int64_t e = begin; e < std::min(elements, begin + kUnitElements); ++e, at.Next()) {
          units[unit].Add(run.PositionWeight(e) * run.class_weights.At(at.o(), at.k(), at.i()));
        }
      });
  if (!status.ok()) return status;
  ExactSum sum;
  for (const ExactSum& part : units) sum.Merge(part);
  return sum;
}

const Runner kElements = {CutElements, ScratchBytes, ComputeType, Run};

}  // namespace lossd
