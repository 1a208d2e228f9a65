#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/exec/argmax.h"
#include "core/exec/box_job.h"
#include "core/exec/cut.h"
#include "core/exec/dense_targets.h"
#include "core/exec/hits.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::KernelSet;
using kernels::Real;
using kernels::RowSums;

// The exponentials of some rows and what belongs to them.
struct Reduced {
  void* e;
  double* chunk_scale;  // [rows][chunks]
  RowSums* sums;
  double* log1p_rest;
  int64_t chunks;
};

double* Log1pRests(const RowSums* sums, int64_t count, Workspace& work) {
  double* log1p_rest = work.losses.Get<double>(2 * count);
  double* rest = log1p_rest + count;
  for (int64_t r = 0; r < count; ++r) rest[r] = sums[r].rest;
  kernels::Active().log1p(rest, count, log1p_rest);
  return log1p_rest;
}

Reduced Reduce(const BoxJob& job, const Rows& rows, Workspace& work) {
  const KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  Reduced reduced;
  reduced.chunks = kernels::Chunks(job.run.compute(), classes);
  reduced.e = job.run.compute() == Compute::kFloat
                  ? static_cast<void*>(work.exponentials.Get<float>(rows.count * classes))
                  : work.exponentials.Get<double>(rows.count * classes);
  reduced.chunk_scale = work.chunk_scales.Get<double>(rows.count * reduced.chunks);
  reduced.sums = work.row_sums.Get<RowSums>(rows.count);
  kernels.reduce_rows[Index(real)](rows.predictions, rows.count, classes, reduced.e,
                                   reduced.chunk_scale, reduced.sums, job.stop);
  reduced.log1p_rest = Log1pRests(reduced.sums, rows.count, work);
  return reduced;
}

// e^(x_k - peak) of one element.
double ExponentialAt(const BoxJob& job, const Reduced& reduced, int64_t row, int64_t k) {
  const int64_t at = row * job.classes() + k;
  if (job.run.compute() == Compute::kDouble) return static_cast<const double*>(reduced.e)[at];
  return static_cast<const float*>(reduced.e)[at] * 0x1p-24 *
         reduced.chunk_scale[row * reduced.chunks + k / kernels::kChunk];
}

// Writes out[r][k] = coefficient[r] * softmax(x)[r][k] - minus[r] * c[r][k], c and minus may be
// null.
void Scale(const BoxJob& job, const Reduced& reduced, const double* coefficient, const void* c,
           const double* minus, int64_t rows, Real real, std::byte* out, Workspace& work) {
  const KernelSet& kernels = kernels::Active();
  const Compute compute = job.run.compute();
  const int64_t chunks = reduced.chunks;
  const double unit = 1.0 / kernels::ExpUnit(compute);
  const auto fill = [&]<class C>(C* factor) {
    C* subtract = factor + rows * chunks;
    for (int64_t r = 0; r < rows; ++r) {
      const double scale = coefficient[r] / (1.0 + reduced.sums[r].rest) * unit;
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

// Rows that scaling leaves wrong: exactly 0 is promised for a coefficient of 0, and a row of NaN
// has one and the same NaN throughout, whatever NaN it comes from.
bool FillGradientRow(const BoxJob& job, const Rows& rows, int64_t row, double coefficient,
                     double rest) {
  if (coefficient != 0 && !std::isnan(coefficient) && !std::isnan(rest)) return false;
  const double value = coefficient == 0 ? 0 : kNaN;
  FillRow(job, job.run.gradient_real(), value, rows.gradient, row);
  return true;
}

// Whether the predictions' first maximum is the targets'.
bool IsHit(const BoxJob& job, const Rows& rows, int64_t row, int64_t label, double peak) {
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  if (rows.targets) {
    const Real target_real = RealOf(job.run.plan.tensors().targets.dtype);
    label = ArgMax(target_real, rows.targets + row * classes * kernels::SizeOf(target_real), 1,
                   classes, job.stop);
  }
  const std::byte* x = rows.predictions + row * classes * kernels::SizeOf(real);
  return label >= 0 && IsFirstPeak(real, x, 1, classes, label, peak, job.stop);
}

void WriteRowOutputs(const BoxJob& job, const Rows& rows, const Reduced& reduced, Workspace& work,
                     UnitSums& unit) {
  const OutputSet& wanted = job.run.plan.outputs();
  const bool any = wanted.log_sum_exp || wanted.argmax_hits;
  for (int64_t r = 0; r < rows.count; ++r) {
    const RowSums& sums = reduced.sums[r];
    const int64_t label = work.positions.label[r];
    if (std::isnan(sums.rest) && label >= 0) unit.CountNonFinite(rows.first_position + r);
    if (!any) continue;
    if (wanted.log_sum_exp) {
      StoreReal(Real::kF64, sums.peak + reduced.log1p_rest[r], job.out.log_sum_exp.data(),
                rows.first_output + r);
    }
    if (wanted.argmax_hits) {
      const bool hit = label >= 0 && IsHit(job, rows, r, label, sums.peak);
      WriteHit(job, rows.first_output + r, hit, unit);
    }
  }
}

// Rows with one label each: all that is known before the rows are looked at.
kernels::LabelledPositions PrepareHardRows(const BoxJob& job, const Rows& rows, Workspace& work) {
  const kernels::LabelledPositions hard = LabelledArrays(rows.count, work.hard_rows);
  const Positions& positions = work.positions;
  const Real real = job.run.real();
  const int64_t classes = job.classes();
  const auto prepare = [&](auto prediction_at) {
    for (int64_t r = 0; r < rows.count; ++r) {
      const int64_t y = positions.label[r];
      hard.coefficient[r] = y < 0 ? 0.0 : positions.gradient[r] * positions.weight[r];
      hard.picked[r] = y < 0 ? 0.0 : prediction_at(r * classes + y);
      hard.picked_exponential[r] = 0;
    }
  };
  if (real == Real::kF32) {
    prepare([&](int64_t at) { return LoadReal(Real::kF32, rows.predictions, at); });
  } else {
    prepare([&](int64_t at) { return LoadReal(real, rows.predictions, at); });
  }
  return hard;
}

void HardLosses(const BoxJob& job, const Rows& rows, const Reduced& reduced,
                const kernels::LabelledPositions& hard, Workspace& work, UnitSums& unit) {
  for (int64_t r = 0; r < rows.count; ++r) {
    hard.peak[r] = reduced.sums[r].peak;
    hard.rest[r] = reduced.sums[r].rest;
    hard.log1p_rest[r] = reduced.log1p_rest[r];
  }
  kernels::Active().labelled_losses(hard, rows.count);
  kernels::Active().labelled_gradients(hard, rows.count);
  AddLabelledLosses(job, work.positions, rows.first_output, hard.loss, unit);
}

// What the scaled softmax does not give: the labels' entries, and exact zeros.
void FinishHardGradient(const BoxJob& job, const Rows& rows, const kernels::LabelledPositions& hard,
                        const Positions& positions) {
  const Real out = job.run.gradient_real();
  const int64_t classes = job.classes();
  const auto finish = [&](auto store) {
    for (int64_t r = 0; r < rows.count; ++r) {
      if (FillGradientRow(job, rows, r, hard.coefficient[r], hard.rest[r])) continue;
      store(hard.label_gradient[r], r * classes + positions.label[r]);
    }
  };
  if (out == Real::kF32) {
    finish([&](double value, int64_t at) { StoreReal(Real::kF32, value, rows.gradient, at); });
  } else {
    finish([&](double value, int64_t at) { StoreReal(out, value, rows.gradient, at); });
  }
}

// Losses and gradients of hard targets, in two phases.
void HardTargets(const BoxJob& job, const Rows& rows, const Reduced& reduced,
                 const kernels::LabelledPositions& hard, Workspace& work, UnitSums& unit) {
  const Positions& positions = work.positions;
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t y = positions.label[r];
    if (y >= 0) hard.picked_exponential[r] = ExponentialAt(job, reduced, r, y);
  }
  HardLosses(job, rows, reduced, hard, work, unit);
  if (!rows.gradient) return;
  Scale(job, reduced, hard.coefficient, nullptr, nullptr, rows.count, job.run.gradient_real(),
        rows.gradient, work);
  FinishHardGradient(job, rows, hard, positions);
}

void RunFused(const BoxJob& job, const Rows& rows, const kernels::LabelledPositions& hard,
              Workspace& work, UnitSums& unit) {
  const KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  const int64_t chunks = kernels::Chunks(Compute::kFloat, classes);
  const kernels::FusedScratch scratch{
      .e = work.exponentials.Get<float>(2 * (classes + kernels::kGroup)),
      .chunk_scale = work.chunk_scales.Get<double>(chunks),
      .factor = work.factors.Get<float>(chunks)};
  Reduced reduced{.e = nullptr,
                  .chunk_scale = nullptr,
                  .sums = work.row_sums.Get<RowSums>(rows.count),
                  .log1p_rest = nullptr,
                  .chunks = chunks};
  kernels.fused_rows[Index(job.run.real())](
      rows.predictions, rows.count, classes, hard.coefficient, work.positions.label.data(),
      job.streaming, scratch, reduced.sums, hard.picked_exponential, rows.gradient, job.stop);
  reduced.log1p_rest = Log1pRests(reduced.sums, rows.count, work);
  WriteRowOutputs(job, rows, reduced, work, unit);
  HardLosses(job, rows, reduced, hard, work, unit);
  FinishHardGradient(job, rows, hard, work.positions);
}

// Losses and gradients of dense targets: probabilities, or labels smoothed.
void DenseTargets(const BoxJob& job, const Rows& rows, const Reduced& reduced, Workspace& work,
                  UnitSums& unit) {
  const Positions& positions = work.positions;
  const int64_t classes = job.classes();
  const double cap = job.run.loss_cap;
  const Real real = job.run.real();
  const CoefficientRows c = MakeCoefficients(job.run, rows, job.stop, work);
  std::vector<double> coefficient(rows.count);
  std::vector<double> minus(rows.count);
  std::vector<double> loss(rows.count);
  for (int64_t r = 0; r < rows.count; ++r) {
    if (positions.label[r] < 0) continue;
    const kernels::DenseSums sums = kernels::Active().dense_sums[Index(real)](
        rows.predictions + r * classes * kernels::SizeOf(real), c.Row(r), classes, reduced.sums[r],
        reduced.log1p_rest[r], cap, job.stop);
    loss[r] = sums.loss;
    if (std::isinf(cap) && sums.mass != 0) loss[r] += sums.mass * reduced.log1p_rest[r];
    if (std::isnan(reduced.sums[r].rest)) loss[r] = reduced.sums[r].rest;
    if (sums.clamped) ++unit.sums.clamped_count;
    coefficient[r] = positions.gradient[r] * sums.mass;
    minus[r] = positions.gradient[r];
  }
  AddPositions(job, positions, rows.first_output, loss.data(), c.weight.data(), unit);
  if (!rows.gradient) return;
  Scale(job, reduced, coefficient.data(), c.Row(0), minus.data(), rows.count,
        job.run.gradient_real(), rows.gradient, work);
  for (int64_t r = 0; r < rows.count; ++r) {
    FillGradientRow(job, rows, r, positions.gradient[r], reduced.sums[r].rest);
  }
}

}  // namespace

bool CanFuse(const LossPlan& plan) {
  return OnePassSuffices(plan) &&
         kernels::Active().fused_rows[Index(RealOf(plan.dtype()))] != nullptr;
}

void RunSoftmaxRows(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit) {
  work.positions.Load(job.run, rows.first_position, rows.count);
  if (CanFuse(job.run.plan)) {
    return RunFused(job, rows, PrepareHardRows(job, rows, work), work, unit);
  }
  const Reduced reduced = Reduce(job, rows, work);
  WriteRowOutputs(job, rows, reduced, work, unit);
  if (rows.probabilities) {
    const std::vector<double> ones(rows.count, 1.0);
    Scale(job, reduced, ones.data(), nullptr, nullptr, rows.count, job.run.real(),
          rows.probabilities, work);
    for (int64_t r = 0; r < rows.count; ++r) {
      const double rest = reduced.sums[r].rest;
      if (std::isnan(rest)) FillRow(job, job.run.real(), rest, rows.probabilities, r);
    }
  }
  if (job.run.one_class()) {
    HardTargets(job, rows, reduced, PrepareHardRows(job, rows, work), work, unit);
  } else {
    DenseTargets(job, rows, reduced, work, unit);
  }
}

}  // namespace lossd
