#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/exec/argmax.h"
#include "core/exec/box_job.h"
#include "core/exec/dense_targets.h"
#include "core/exec/softmax_position.h"

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
  reduced.log1p_rest = work.losses.Get<double>(2 * rows.count);
  kernels.reduce_rows[Index(real)](rows.predictions, rows.count, classes, reduced.e,
                                   reduced.chunk_scale, reduced.sums);
  double* rest = reduced.log1p_rest + rows.count;
  for (int64_t r = 0; r < rows.count; ++r) rest[r] = reduced.sums[r].rest;
  kernels.log1p(rest, rows.count, reduced.log1p_rest);
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
        factor[r * chunks + chunk] = ToFinite<C>(scale * reduced.chunk_scale[r * chunks + chunk]);
      }
      subtract[r] = minus ? ToFinite<C>(minus[r]) : C{0};
    }
    if (c) {
      kernels.scale_rows_minus[Index(compute)][Index(real)](reduced.e, factor, c, subtract, rows,
                                                            job.classes(), job.streaming, out);
    } else {
      kernels.scale_rows[Index(compute)][Index(real)](reduced.e, factor, rows, job.classes(),
                                                      job.streaming, out);
    }
  };
  if (compute == Compute::kFloat) {
    fill(work.factors.Get<float>(rows * (chunks + 1)));
  } else {
    fill(work.factors.Get<double>(rows * (chunks + 1)));
  }
}

void ZeroRow(const BoxJob& job, std::byte* gradient, int64_t row) {
  const int64_t bytes = job.classes() * kernels::SizeOf(job.run.gradient_real());
  std::memset(gradient + row * bytes, 0, bytes);
}

// Whether the predictions' first maximum is the targets'.
bool IsHit(const BoxJob& job, const Rows& rows, int64_t row, int64_t label, double peak) {
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  if (rows.targets) {
    const Real target_real = RealOf(job.run.plan.tensors().targets.dtype);
    label = ArgMax(target_real, rows.targets + row * classes * kernels::SizeOf(target_real), 1,
                   classes);
  }
  const std::byte* x = rows.predictions + row * classes * kernels::SizeOf(real);
  return label >= 0 && IsFirstPeak(real, x, 1, classes, label, peak);
}

void WriteRowOutputs(const BoxJob& job, const Rows& rows, const Reduced& reduced, Workspace& work,
                     UnitSums& unit) {
  const OutputSet& wanted = job.run.plan.outputs();
  for (int64_t r = 0; r < rows.count; ++r) {
    const RowSums& sums = reduced.sums[r];
    if (wanted.log_sum_exp) {
      StoreReal(Real::kF64, sums.peak + reduced.log1p_rest[r], job.out.log_sum_exp.data(),
                rows.first_output + r);
    }
    const int64_t label = work.positions.label[r];
    if (label == Labels::kIgnored) {
      WriteHit(job, rows.first_output + r, false, unit);
      continue;
    }
    if (std::isnan(sums.rest)) unit.CountNonFinite(rows.first_position + r);
    if (wanted.argmax_hits) {
      WriteHit(job, rows.first_output + r, IsHit(job, rows, r, label, sums.peak), unit);
    }
  }
}

// Losses and gradients of hard targets.
void HardTargets(const BoxJob& job, const Rows& rows, const Reduced& reduced, Workspace& work,
                 UnitSums& unit) {
  const Positions& positions = work.positions;
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  std::vector<double> coefficient(rows.count);
  std::vector<double> label_gradient(rows.count);
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t y = positions.label[r];
    if (y < 0) {
      AddPosition(job, positions, r, rows.first_output + r, 0, 0, unit);
      continue;
    }
    const SoftmaxPosition position{.peak = reduced.sums[r].peak,
                                   .rest = reduced.sums[r].rest,
                                   .log1p_rest = reduced.log1p_rest[r],
                                   .picked = LoadReal(real, rows.predictions, r * classes + y),
                                   .picked_exponential = ExponentialAt(job, reduced, r, y)};
    const double loss = position.Loss(job.run, unit);
    AddPosition(job, positions, r, rows.first_output + r, positions.weight[r] * loss,
                positions.weight[r], unit);
    coefficient[r] = positions.gradient[r] * positions.weight[r];
    label_gradient[r] = -coefficient[r] * position.OthersShare();
  }
  if (!rows.gradient) return;
  const Real out = job.run.gradient_real();
  Scale(job, reduced, coefficient.data(), nullptr, nullptr, rows.count, out, rows.gradient, work);
  for (int64_t r = 0; r < rows.count; ++r) {
    if (coefficient[r] == 0) {
      ZeroRow(job, rows.gradient, r);
    } else {
      StoreReal(out, label_gradient[r] + 0.0, rows.gradient, r * classes + positions.label[r]);
    }
  }
}

// Losses and gradients of dense targets: probabilities, or labels smoothed.
void DenseTargets(const BoxJob& job, const Rows& rows, const Reduced& reduced, Workspace& work,
                  UnitSums& unit) {
  const Positions& positions = work.positions;
  const int64_t classes = job.classes();
  const double cap = job.run.loss_cap;
  const Real real = job.run.real();
  const CoefficientRows c = MakeCoefficients(job.run, rows, work);
  std::vector<double> coefficient(rows.count);
  std::vector<double> minus(rows.count);
  for (int64_t r = 0; r < rows.count; ++r) {
    if (positions.label[r] < 0) {
      AddPosition(job, positions, r, rows.first_output + r, 0, 0, unit);
      continue;
    }
    const kernels::DenseSums sums = kernels::Active().dense_sums[Index(real)](
        rows.predictions + r * classes * kernels::SizeOf(real), c.Row(r), classes, reduced.sums[r],
        reduced.log1p_rest[r], cap);
    double loss = sums.loss;
    if (std::isinf(cap) && sums.mass != 0) loss += sums.mass * reduced.log1p_rest[r];
    if (std::isnan(reduced.sums[r].rest)) loss = reduced.sums[r].rest;
    if (sums.clamped) ++unit.sums.clamped_count;
    AddPosition(job, positions, r, rows.first_output + r, loss, c.weight[r], unit);
    coefficient[r] = positions.gradient[r] * sums.mass;
    minus[r] = positions.gradient[r];
  }
  if (!rows.gradient) return;
  Scale(job, reduced, coefficient.data(), c.Row(0), minus.data(), rows.count,
        job.run.gradient_real(), rows.gradient, work);
  for (int64_t r = 0; r < rows.count; ++r) {
    if (positions.gradient[r] == 0) ZeroRow(job, rows.gradient, r);
  }
}

}  // namespace

void RunSoftmaxRows(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit) {
  work.positions.Load(job.run, rows.first_position, rows.count);
  const Reduced reduced = Reduce(job, rows, work);
  WriteRowOutputs(job, rows, reduced, work, unit);
  if (rows.probabilities) {
    const std::vector<double> ones(rows.count, 1.0);
    Scale(job, reduced, ones.data(), nullptr, nullptr, rows.count, job.run.real(),
          rows.probabilities, work);
  }
  if (job.run.one_class()) {
    HardTargets(job, rows, reduced, work, unit);
  } else {
    DenseTargets(job, rows, reduced, work, unit);
  }
}

}  // namespace lossd
