#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/exec/argmax.h"
#include "core/exec/box_job.h"
#include "core/exec/softmax_position.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;
using kernels::RowSums;

// Where a tile's predictions lie: element (k, i) at base + (k * stride + i) elements.
struct Strided {
  const std::byte* base;
  int64_t stride;
};

// In place if the box is in one piece, else gathered.
Strided Predictions(const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work) {
  const int64_t size = kernels::SizeOf(job.run.real());
  const int64_t span = ((job.classes() - 1) * job.box.inner_count + width) * size;
  const int64_t first = job.ElementAt(o, 0, i) * size;
  if (const std::byte* whole = job.in.predictions.Contiguous(first, span)) {
    return {whole, job.box.inner_count};
  }
  auto* gathered = work.gathered.Get<std::byte>(job.classes() * width * size);
  for (int64_t k = 0; k < job.classes(); ++k) {
    job.in.predictions.CopyTo(job.ElementAt(o, k, i) * size, width * size,
                              gathered + k * width * size);
  }
  return {gathered, width};
}

// Writes coefficient[i] * softmax(x) of the tile.
template <class C>
void Scale(const BoxJob& job, const C* e, int64_t e_stride, const RowSums* sums,
           const double* coefficient, int64_t width, Real real, std::byte* out, Workspace& work) {
  const Compute compute = job.run.compute();
  C* factor = work.factors.Get<C>(width);
  for (int64_t p = 0; p < width; ++p) {
    factor[p] =
        kernels::ToFinite<C>(coefficient[p] / (1.0 + sums[p].rest) / kernels::ExpUnit(compute));
  }
  kernels::Active().scale_tile[Index(compute)][Index(real)](e, e_stride, factor, job.classes(),
                                                            width, out, job.box.inner_count);
}

template <class C>
void Run(const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work, UnitSums& unit) {
  const kernels::KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  const OutputSet& wanted = job.run.plan.outputs();
  const int64_t first_position = job.PositionAt(o, i);
  const int64_t first_output = o * job.box.inner_count + i;
  Positions& positions = work.positions;
  positions.Load(job.run, first_position, width);

  const Strided x = Predictions(job, o, i, width, work);
  const int64_t e_stride = (width + kernels::kGroup - 1) / kernels::kGroup * kernels::kGroup;
  C* e = work.exponentials.Get<C>(classes * e_stride);
  auto* sums = work.row_sums.Get<RowSums>(width);
  double* log1p_rest = work.losses.Get<double>(4 * width);
  double* rest = log1p_rest + width;
  double* coefficient = rest + width;
  double* label_gradient = coefficient + width;
  kernels.reduce_tile[Index(real)](x.base, x.stride, classes, width, e, e_stride, sums);
  for (int64_t p = 0; p < width; ++p) rest[p] = sums[p].rest;
  kernels.log1p(rest, width, log1p_rest);

  for (int64_t p = 0; p < width; ++p) {
    const int64_t y = positions.label[p];
    const int64_t output = first_output + p;
    coefficient[p] = 0;
    if (wanted.log_sum_exp) {
      StoreReal(Real::kF64, sums[p].peak + log1p_rest[p], job.out.log_sum_exp.data(), output);
    }
    if (y < 0) {
      WriteHit(job, output, false, unit);
      AddPosition(job, positions, p, output, 0, 0, unit);
      continue;
    }
    if (std::isnan(sums[p].rest)) unit.CountNonFinite(first_position + p);
    const SoftmaxPosition position{
        .peak = sums[p].peak,
        .rest = sums[p].rest,
        .log1p_rest = log1p_rest[p],
        .picked = LoadReal(real, x.base, y * x.stride + p),
        .picked_exponential = e[y * e_stride + p] / kernels::ExpUnit(job.run.compute())};
    if (wanted.argmax_hits) {
      const std::byte* column = x.base + p * kernels::SizeOf(real);
      WriteHit(job, output, IsFirstPeak(real, column, x.stride, classes, y, sums[p].peak), unit);
    }
    AddPosition(job, positions, p, output, positions.weight[p] * position.Loss(job.run, unit),
                positions.weight[p], unit);
    coefficient[p] = positions.gradient[p] * positions.weight[p];
    label_gradient[p] = -coefficient[p] * position.OthersShare();
  }

  if (wanted.probabilities) {
    const std::vector<double> ones(width, 1.0);
    Scale(job, e, e_stride, sums, ones.data(), width, real,
          job.out.probabilities.data() + job.ElementAt(o, 0, i) * kernels::SizeOf(real), work);
  }
  if (!wanted.gradient) return;
  const Real out = job.run.gradient_real();
  std::byte* gradient = job.out.gradient.data() + job.ElementAt(o, 0, i) * kernels::SizeOf(out);
  Scale(job, e, e_stride, sums, coefficient, width, out, gradient, work);
  for (int64_t p = 0; p < width; ++p) {
    if (coefficient[p] != 0) {
      StoreReal(out, label_gradient[p] + 0.0, gradient,
                positions.label[p] * job.box.inner_count + p);
    } else if (std::isnan(sums[p].rest)) {  // 0 * NaN, where exactly 0 is promised
      for (int64_t k = 0; k < classes; ++k)
        StoreReal(out, 0, gradient, k * job.box.inner_count + p);
    }
  }
}

}  // namespace

void RunSoftmaxTile(const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work,
                    UnitSums& unit) {
  if (job.run.compute() == Compute::kFloat) {
    Run<float>(job, o, i, width, work, unit);
  } else {
    Run<double>(job, o, i, width, work, unit);
  }
}

}  // namespace lossd
