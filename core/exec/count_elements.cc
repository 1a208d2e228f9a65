#include "core/exec/count_elements.h"

#include <algorithm>
#include <vector>

#include "core/exec/cut.h"
#include "core/exec/visit_elements.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

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

// Element by element, as position weights or ignored targets want it.
absl::StatusOr<CountedElements> CountOneByOne(const RunState& run, Executor& executor,
                                              StopToken stop) {
  const LossPlan& plan = run.plan;
  const int64_t elements = plan.counted_positions();
  const bool targets = plan.targets_come_whole();
  std::vector<CountedElements> units((elements + kUnitElements - 1) / kUnitElements);
  const auto count = [&](CountedElements& unit, int64_t begin, auto is_ignored) {
    ElementCursor at(plan, plan.whole(), begin);
    for (int64_t e = begin; e < std::min(elements, begin + kUnitElements); ++e, at.Next()) {
      if (is_ignored(e)) continue;
      ++unit.count;
      if (!plan.weighs_targets()) continue;
      unit.weight.Add(run.PositionWeight(e) * run.class_weights.At(at.o(), at.k(), at.i()));
    }
  };
  LOSSD_RETURN_IF_ERROR(
      executor.ForEach(static_cast<int64_t>(units.size()), stop, [&](int64_t unit) {
        const int64_t begin = unit * kUnitElements;
        if (!targets) return count(units[unit], begin, [](int64_t) { return false; });
        VisitElements(plan.tensors().targets.dtype, run.side.targets, [&](auto value_at) {
          count(units[unit], begin, [&](int64_t e) {
            return IsIgnoredTarget(plan.spec(), static_cast<double>(value_at(e)));
          });
        });
      }));
  CountedElements whole;
  for (const CountedElements& unit : units) {
    whole.count += unit.count;
    whole.weight.Merge(unit.weight);
  }
  return whole;
}

}  // namespace

bool IsIgnoredTarget(const LossSpec& spec, double target) {
  return std::ranges::any_of(
      spec.ignore_labels, [target](int64_t label) { return static_cast<double>(label) == target; });
}

absl::StatusOr<CountedElements> CountElements(const RunState& run, Executor& executor,
                                              StopToken stop) {
  const LossPlan& plan = run.plan;
  const bool weighs_positions = plan.weighs_targets() && plan.tensors().position_weights;
  if (plan.targets_come_whole() || weighs_positions) return CountOneByOne(run, executor, stop);
  CountedElements whole;
  whole.count = plan.counted_positions();
  if (plan.weighs_targets()) whole.weight = WeightOfClasses(run, stop);
  LOSSD_RETURN_IF_ERROR(stop.Check());
  return whole;
}

}  // namespace lossd
