#include "core/exec/run_state.h"

namespace lossd {

double RunState::PositionWeight(int64_t position) const {
  const auto& desc = plan.tensors().position_weights;
  return desc ? LoadReal(RealOf(desc->dtype), side.position_weights.data(), position) : 1.0;
}

void Positions::Load(const RunState& run, int64_t begin, int64_t count) {
  label.assign(count, 0);
  weight.assign(count, 1.0);
  q.assign(count, 1.0);
  gradient.assign(count, 0.0);
  const LossPlan& plan = run.plan;
  if (run.hard_targets()) {
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
  if (run.denominator == 0) return;  // nothing weighs anything: gradients are 0
  const LossSpec& spec = plan.spec();
  const auto& upstream = plan.tensors().upstream_gradient;
  if (!plan.tensors().position_weights && !upstream) {
    const double a = spec.gradient_scale * (spec.loss_weight / run.denominator);
    for (int64_t i = 0; i < count; ++i) gradient[i] = label[i] < 0 ? 0.0 : a;
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (label[i] < 0) continue;
    double a = spec.gradient_scale * (spec.loss_weight * q[i] / run.denominator);
    if (upstream) {
      a *= LoadReal(RealOf(upstream->dtype), run.side.upstream_gradient.data(), begin + i);
    }
    gradient[i] = a;
  }
}

}  // namespace lossd
