#include "core/exec/run_state.h"

#include <algorithm>

namespace lossd {

double RunState::PositionWeight(int64_t position) const {
  const auto& desc = plan.tensors().position_weights;
  return desc ? LoadReal(RealOf(desc->dtype), side.position_weights.data(), position) : 1.0;
}

namespace {

double UpstreamGradient(const RunState& run, int64_t position) {
  const DType dtype = run.plan.tensors().upstream_gradient->dtype;
  return OneNaN(LoadReal(RealOf(dtype), run.side.upstream_gradient.data(), position));
}

void FillOnes(std::vector<double>& values, int64_t size, bool& plain, bool stays_plain) {
  if (!plain) values.clear();
  values.resize(size, 1.0);
  plain = stays_plain;
}

}  // namespace

void Positions::Load(const RunState& run, int64_t begin, int64_t count, WeightOf weight_of) {
  this->count = count;
  this->weight_of = weight_of;
  label.resize(count + kernels::kGroup);
  if (run.hard_targets()) {
    run.labels.Read(begin, count, label.data());
  } else {
    std::fill(label.begin(), label.end(), 0);
  }
  LoadWeights(run, begin);
  LoadGradients(run, begin);
  if (run.plan.tensors().advantages) LoadTokens(run, begin);
}

void Positions::LoadTokens(const RunState& run, int64_t begin) {
  const LossTensorDescs& tensors = run.plan.tensors();
  const auto load = [&](const std::optional<TensorDesc>& desc, ByteSpan bytes,
                        std::vector<double>& to) {
    to.clear();
    if (!desc) return;
    to.resize(count + kernels::kGroup);
    for (int64_t i = 0; i < count; ++i)
      to[i] = LoadReal(RealOf(desc->dtype), bytes.data(), begin + i);
  };
  load(tensors.advantages, run.side.advantages, advantage);
  load(tensors.old_log_probabilities, run.side.old_log_probabilities, old);
  load(tensors.reference_log_probabilities, run.side.reference_log_probabilities, reference);
}

void Positions::LoadElements(const RunState& run, const Box& box, int64_t first, int64_t count) {
  const LossSpec& spec = run.plan.spec();
  const LossTensorDescs& tensors = run.plan.tensors();
  const bool by_class = run.class_weights.given();
  const bool by_position = tensors.position_weights.has_value();
  this->count = count;
  weight_of = WeightOf::kLabel;
  label.assign(count + kernels::kGroup, 0);
  FillOnes(weight, count + kernels::kGroup, plain_weight_, !by_class);
  FillOnes(q, count + kernels::kGroup, plain_q_, !by_position);
  const bool weightless = run.denominator == 0;
  const double plain = spec.gradient_scale * (spec.loss_weight / run.denominator);
  gradient.assign(count + kernels::kGroup, weightless ? 0.0 : plain);
  if (!by_class && !by_position && !tensors.upstream_gradient) return;
  ElementCursor at(run.plan, box, first);
  for (int64_t e = 0; e < count; ++e, at.Next()) {
    if (by_class) weight[e] = run.class_weights.At(at.o(), at.k(), at.i());
    if (by_position) q[e] = run.PositionWeight(at.element());
    if (weightless) continue;
    const double a = spec.gradient_scale * (spec.loss_weight * q[e] / run.denominator);
    // What weighs nothing has no gradient, whatever comes from upstream.
    const bool counts = a != 0 && weight[e] != 0;
    gradient[e] = !counts                     ? 0
                  : tensors.upstream_gradient ? OneNaN(a * UpstreamGradient(run, at.element()))
                                              : a;
  }
}

void Positions::LoadGroups(const RunState& run, int64_t begin, int64_t count) {
  const LossSpec& spec = run.plan.spec();
  const bool has_upstream = run.plan.tensors().upstream_gradient.has_value();
  this->count = count;
  weight_of = WeightOf::kLabel;
  label.assign(count + kernels::kGroup, 0);
  FillOnes(weight, count + kernels::kGroup, plain_weight_, !run.class_weights.given());
  FillOnes(q, count + kernels::kGroup, plain_q_, true);
  gradient.assign(count + kernels::kGroup, 0);
  const double a =
      run.denominator == 0 ? 0 : spec.gradient_scale * (spec.loss_weight / run.denominator);
  for (int64_t i = 0; i < count; ++i) {
    if (run.class_weights.given()) {
      weight[i] = run.class_weights.At(0, (begin + i) % run.plan.classes(), 0);
    }
    // What weighs nothing has no gradient, whatever comes from upstream.
    if (a == 0 || weight[i] == 0) continue;
    gradient[i] = has_upstream ? OneNaN(a * UpstreamGradient(run, begin + i)) : a;
  }
}

void Positions::LoadWeights(const RunState& run, int64_t begin) {
  const LossPlan& plan = run.plan;
  const bool by_class = run.hard_targets() && run.class_weights.given();
  FillOnes(weight, count + kernels::kGroup, plain_weight_, !by_class);
  for (int64_t i = 0; by_class && i < count; ++i) {
    const int64_t p = begin + i;
    if (label[i] < 0) continue;
    weight[i] = run.class_weights.At(p / plan.inner(), label[i], p % plan.inner());
  }
  const bool by_position = plan.tensors().position_weights.has_value();
  FillOnes(q, count + kernels::kGroup, plain_q_, !by_position);
  for (int64_t i = 0; by_position && i < count; ++i) q[i] = run.PositionWeight(begin + i);
}

void Positions::LoadGradients(const RunState& run, int64_t begin) {
  gradient.resize(count + kernels::kGroup);
  const LossSpec& spec = run.plan.spec();
  const auto& upstream = run.plan.tensors().upstream_gradient;
  const bool weightless = run.denominator == 0;  // nothing weighs anything: gradients are 0
  if (weightless || (!run.plan.tensors().position_weights && !upstream)) {
    const double a = spec.gradient_scale * (spec.loss_weight / run.denominator);
    kernels::Active().fill_counted(label.data(), weightless ? 0.0 : a, count, gradient.data());
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    gradient[i] = 0;
    if (label[i] < 0 || (weight_of == WeightOf::kLabel && weight[i] == 0)) continue;
    const double a = spec.gradient_scale * (spec.loss_weight * q[i] / run.denominator);
    // What weighs nothing has no gradient, whatever comes from upstream.
    gradient[i] = upstream && a != 0 ? OneNaN(a * UpstreamGradient(run, begin + i)) : a;
  }
}

}  // namespace lossd
