#include "core/exec/softmax_phases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/exec/policy_sums.h"
#include "core/exec/position_sums.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::KernelSet;
using kernels::Real;

void FillRow(const BoxJob& job, Real real, double value, std::byte* rows, int64_t row) {
  const int64_t size = kernels::SizeOf(real);
  const int64_t bytes = job.classes() * size;
  std::byte* to = rows + row * bytes;
  StoreReal(real, value, to, 0);
  int64_t part = size;
  for (int64_t filled = size; filled < bytes && !kernels::Stopped(job.stop); filled += part) {
    part = std::min({filled, kernels::kPollElements, bytes - filled});
    std::memcpy(to + filled, to, part);
  }
}

// nullptr where there is nothing.
const double* DataOf(const std::vector<double>& values) {
  return values.empty() ? nullptr : values.data();
}

// What a policy loss says of the tokens taken.
void AddTokens(const BoxJob& job, const Positions& positions, int64_t output,
               const kernels::LabelledPositions& at, UnitSums& unit) {
  std::vector<double> lp(positions.count + kernels::kGroup);
  for (int64_t p = 0; p < positions.count; ++p) {
    lp[p] = -(at.peak[p] - at.picked[p] + at.log1p_rest[p]);
  }
  AddPolicySums(job, positions,
                {.log_probability = lp.data(),
                 .advantage = positions.advantage.data(),
                 .old = DataOf(positions.old),
                 .reference = DataOf(positions.reference)},
                output, unit);
}

}  // namespace

bool OnePassSuffices(const LossPlan& plan) {
  const OutputSet& wanted = plan.outputs();
  return wanted.gradient && !wanted.probabilities && !wanted.argmax_hits && !wanted.entropy &&
         !wanted.label_rank && plan.gradient_dtype() == plan.dtype();
}

std::optional<kernels::SoftmaxHead> HeadOf(const RunState& run, const Positions& positions) {
  if (!run.softmax_head) return std::nullopt;
  return kernels::SoftmaxHead{.body = run.softmax_head,
                              .options = run.softmax_head_options.data(),
                              .weight = positions.weight.data(),
                              .advantage = DataOf(positions.advantage),
                              .old = DataOf(positions.old),
                              .reference = DataOf(positions.reference)};
}

void LoadLabelled(const RunState& run, int64_t first, int64_t count, Positions& positions) {
  const bool weighted_head = run.softmax_head && run.class_weights.given();
  const bool by_head = weighted_head && !run.softmax_head_is_weighted;
  positions.Load(run, first, count, by_head ? WeightOf::kTargets : WeightOf::kLabel);
  for (int64_t p = 0; weighted_head && !by_head && p < count; ++p) {
    if (positions.weight[p] == 0) positions.gradient[p] = 0;
  }
}

void AddLabelledLosses(const BoxJob& job, const Positions& positions, int64_t output,
                       const kernels::LabelledPositions& at, UnitSums& unit) {
  const int64_t count = positions.count;
  const double cap = job.run.loss_cap;
  double* const loss = at.loss;
  AddZLosses(job, positions, at, unit);
  if (job.run.plan.tensors().advantages) AddTokens(job, positions, output, at, unit);
  if (job.run.softmax_head) {
    for (int64_t p = 0; std::isfinite(cap) && p < count; ++p) {
      const bool over = at.peak[p] - at.picked[p] + at.log1p_rest[p] > cap;
      if (positions.label[p] >= 0 && over) ++unit.sums.clamped_count;
    }
    return AddPositions(job, positions, output, loss, positions.weight.data(), unit);
  }
  for (int64_t p = 0; std::isfinite(cap) && p < count; ++p) {
    if (positions.label[p] < 0 || !(loss[p] > cap)) continue;
    ++unit.sums.clamped_count;
    loss[p] = cap;
  }
  for (int64_t p = 0; job.run.class_weights.given() && p < count; ++p) {
    loss[p] = positions.weight[p] * loss[p];
  }
  AddPositions(job, positions, output, loss, positions.weight.data(), unit);
}

void AddZLosses(const BoxJob& job, const Positions& positions, const kernels::LabelledPositions& at,
                UnitSums& unit) {
  const double zeta = job.run.lse_square_scale;
  for (int64_t p = 0; zeta > 0 && p < positions.count; ++p) {
    const double scale = job.run.plan.spec().loss_weight * positions.q[p];
    if (positions.label[p] < 0 || scale == 0) continue;
    const double lse = at.peak[p] + at.log1p_rest[p];
    unit.sums.z_loss_sum.Add(OneNaN(scale * (zeta * lse * lse)));
  }
}

Reduced ReduceRows(const BoxJob& job, const Rows& rows, const kernels::LabelledPositions& at,
                   Workspace& work) {
  return ReduceLogits(job, job.run.real(), rows.predictions, rows.count, at, work);
}

Reduced ReduceLogits(const BoxJob& job, Real real, const void* logits, int64_t rows,
                     const kernels::LabelledPositions& at, Workspace& work) {
  const KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  Reduced reduced{.e = nullptr,
                  .chunk_scale = nullptr,
                  .chunks = kernels::Chunks(job.run.compute(), classes),
                  .at = at};
  reduced.e = job.run.compute() == Compute::kFloat
                  ? static_cast<void*>(work.exponentials.Get<float>(rows * classes))
                  : work.exponentials.Get<double>(rows * classes);
  reduced.chunk_scale = work.chunk_scales.Get<double>(rows * reduced.chunks);
  kernels.reduce_rows[Index(real)](logits, rows, classes, reduced.e, reduced.chunk_scale, at.peak,
                                   at.rest, job.stop);
  kernels.log1p(at.rest, rows, at.log1p_rest);
  return reduced;
}

double ExponentialAt(const BoxJob& job, const Reduced& reduced, int64_t row, int64_t k) {
  const int64_t at = row * job.classes() + k;
  if (job.run.compute() == Compute::kDouble) return static_cast<const double*>(reduced.e)[at];
  return static_cast<const float*>(reduced.e)[at] * 0x1p-24 *
         reduced.chunk_scale[row * reduced.chunks + k / kernels::kChunk];
}

void ScaleRows(const BoxJob& job, const Reduced& reduced, const double* coefficient, const void* c,
               const double* minus, int64_t rows, Real real, std::byte* out, Workspace& work) {
  const KernelSet& kernels = kernels::Active();
  const Compute compute = job.run.compute();
  const int64_t chunks = reduced.chunks;
  const double unit = 1.0 / kernels::ExpUnit(compute);
  const auto fill = [&]<class C>(C* factor) {
    C* subtract = factor + rows * chunks;
    for (int64_t r = 0; r < rows; ++r) {
      const double scale = coefficient[r] / (1.0 + reduced.at.rest[r]) * unit;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        factor[r * chunks + chunk] =
            kernels::ToFinite<C>(scale * reduced.chunk_scale[r * chunks + chunk]);
      }
      subtract[r] = minus ? kernels::ToFinite<C>(minus[r]) : C{0};
    }
    if (c) {
      kernels.scale_rows_minus[Index(compute)][Index(real)](
          reduced.e, factor, c, subtract, rows, job.classes(), job.streaming, out, job.stop);
    } else {
      kernels.scale_rows[Index(compute)][Index(real)](reduced.e, factor, rows, job.classes(),
                                                      job.streaming, out, job.stop);
    }
  };
  if (compute == Compute::kFloat) {
    fill(work.factors.Get<float>(rows * (chunks + 1)));
  } else {
    fill(work.factors.Get<double>(rows * (chunks + 1)));
  }
}

void FillGradientRow(const BoxJob& job, const Rows& rows, int64_t row, double coefficient) {
  FillRow(job, job.run.gradient_real(), coefficient == 0 ? 0 : kNaN, rows.gradient, row);
}

void WriteProbabilities(const BoxJob& job, const Rows& rows, const Reduced& reduced,
                        Workspace& work) {
  if (!rows.probabilities) return;
  const std::vector<double> ones(rows.count, 1.0);
  ScaleRows(job, reduced, ones.data(), nullptr, nullptr, rows.count, job.run.real(),
            rows.probabilities, work);
  for (int64_t r = 0; r < rows.count; ++r) {
    const double rest = reduced.at.rest[r];
    if (std::isnan(rest)) FillRow(job, job.run.real(), rest, rows.probabilities, r);
  }
}

void WriteLabelLogProbabilities(const BoxJob& job, int64_t first, const Positions& positions,
                                const kernels::LabelledPositions& at) {
  if (!job.run.plan.outputs().label_log_probabilities) return;
  for (int64_t p = 0; p < positions.count; ++p) {
    const double minus_log = at.peak[p] - at.picked[p] + at.log1p_rest[p];
    const double known = std::isnan(minus_log) ? kNaN : 0 - minus_log;
    const double value = positions.label[p] < 0 ? 0 : known;
    StoreReal(Real::kF64, value, job.out.label_log_probabilities.data(), first + p);
  }
}

void WriteEntropy(const BoxJob& job, int64_t output, double log1p_rest, double rest, double sum) {
  const double entropy = std::isnan(rest) ? kNaN : log1p_rest + sum / (1 + rest);
  StoreReal(Real::kF64, entropy, job.out.entropy.data(), output);
}

void WriteRank(const BoxJob& job, int64_t output, int64_t rank) {
  const auto narrow = static_cast<int32_t>(rank);
  std::memcpy(job.out.label_rank.data() + output * int64_t{sizeof(narrow)}, &narrow,
              sizeof(narrow));
}

void WriteRowEntropies(const BoxJob& job, const Rows& rows, const Reduced& reduced) {
  if (!job.run.plan.outputs().entropy) return;
  const int64_t row_bytes = job.classes() * kernels::SizeOf(job.run.real());
  const int64_t scratch_bytes = job.classes() * SizeOf(job.run.compute());
  for (int64_t r = 0; r < rows.count; ++r) {
    const double sum = kernels::Active().entropy_sum[Index(job.run.real())](
        rows.predictions + r * row_bytes, static_cast<std::byte*>(reduced.e) + r * scratch_bytes,
        reduced.chunk_scale + r * reduced.chunks, job.classes(), reduced.at.peak[r], job.stop);
    WriteEntropy(job, rows.first_output + r, reduced.at.log1p_rest[r], reduced.at.rest[r], sum);
  }
}

void WriteLogSumExps(const BoxJob& job, const Rows& rows, const kernels::LabelledPositions& at,
                     const Positions& positions, UnitSums& unit) {
  const bool wanted = job.run.plan.outputs().log_sum_exp;
  for (int64_t r = 0; r < rows.count; ++r) {
    if (std::isnan(at.rest[r]) && positions.label[r] >= 0) {
      unit.CountNonFinite(rows.first_position + r);
    }
    if (!wanted) continue;
    StoreReal(Real::kF64, at.peak[r] + at.log1p_rest[r], job.out.log_sum_exp.data(),
              rows.first_output + r);
  }
}

}  // namespace lossd
