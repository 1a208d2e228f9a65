#include "core/exec/working_memory.h"

#include <algorithm>

#include "core/exec/runner.h"
#include "core/exec/tversky.h"

namespace lossd {
namespace {

// What ClassWeights holds.
int64_t ClassWeightBytes(const LossPlan& plan) {
  if (!plan.has_class_weights()) return 0;
  const ClassWeightsPlan& weights = plan.class_weights();
  const bool global = weights.normalization == WeightNormalization::kGlobal;
  const int64_t sums = global ? weights.samples : weights.outer * weights.inner;
  const bool table = weights.outer == 1 && weights.inner == 1;
  return 8 * (sums + (table ? plan.classes() : 0));
}

// Where sequences of tokens end: RunState::sequence_ends.
int64_t SequenceBytes(const LossPlan& plan, const Runner& runner) {
  const bool of_tokens = plan.of_elements() && plan.in_one_box();
  return of_tokens ? 8 * runner.cut(plan, plan.whole(), true).positions : 0;
}

// What a class bias takes when it is widened.
int64_t ClassBiasBytes(const LossPlan& plan) {
  return plan.tensors().class_bias ? 8 * (plan.classes() + kernels::kGroup) : 0;
}

// And what the costs between classes take.
int64_t MetricBytes(const LossPlan& plan) {
  return plan.tensors().ground_metric ? 8 * (plan.classes() * plan.classes() + kernels::kGroup) : 0;
}

}  // namespace

int64_t WorkingBytes(const LossPlan& plan, int threads) {
  const Runner& runner = RunnerOf(plan);
  const int64_t of_classes = ClassWeightBytes(plan) + ClassBiasBytes(plan) + MetricBytes(plan) +
                             SequenceBytes(plan, runner) + GroupBytes(plan);
  if (plan.positions() == 0) return of_classes;
  const int64_t scratch =
      std::max(runner.scratch_bytes(plan, true), runner.scratch_bytes(plan, false));
  const int64_t at_once = std::min(int64_t{threads}, plan.counted_positions());
  return of_classes + at_once * std::max<int64_t>(scratch - kKeptScratchBytes, 0);
}

}  // namespace lossd
