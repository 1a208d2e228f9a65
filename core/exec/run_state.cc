#include "core/exec/run_state.h"

#include <algorithm>

namespace lossd {

double RunState::PositionWeight(int64_t position) const {
  const auto& desc = plan.tensors().position_weights;
  return desc ? LoadReal(RealOf(desc->dtype), side.position_weights.data(), position) : 1.0;
}

void Positions::Load(const RunState& run, int64_t begin, int64_t count) {
  label.resize(count);
  weight.assign(count, 1.0);
  q.assign(count, 1.0);
  const LossPlan& plan = run.plan;
  if (!run.hard_targets()) {
    std::fill(label.begin(), label.end(), 0);
  } else {
    run.labels.Read(begin, count, label.data());
    if (run.class_weights.given()) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t p = begin + i;
        if (label[i] < 0) continue;
        weight[i] = run.class_weights.At(p / plan.inner(), label[i], p % plan.inner());
      }
    }
  }
  if (plan.tensors().position_weights) {
    for (int64_t i = 0; i < count; ++i) q[i] = run.PositionWeight(begin + i);
  }
  gradient.resize(count);
  const LossSpec& spec = plan.spec();
  const auto& upstream = plan.tensors().upstream_gradient;
  const bool weightless = run.denominator == 0;  // nothing weighs anything: gradients are 0
  if (weightless || (!plan.tensors().position_weights && !upstream)) {
    const double a = spec.gradient_scale * (spec.loss_weight / run.denominator);
    kernels::Active().fill_counted(label.data(), weightless ? 0.0 : a, count, gradient.data());
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    gradient[i] = 0;
    if (label[i] < 0) continue;
    double a = spec.gradient_scale * (spec.loss_weight * q[i] / run.denominator);
    if (upstream) {
      a *= LoadReal(RealOf(upstream->dtype), run.side.upstream_gradient.data(), begin + i);
    }
    gradient[i] = a;
  }
}

}  // namespace lossd
