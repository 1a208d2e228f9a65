#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/exec/argmax.h"
#include "core/exec/box_job.h"
#include "core/exec/hits.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

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

// One tile between the two phases: per position a double in each array.
template <class C>
struct Tile {
  int64_t o;
  int64_t i;
  int64_t width;
  C* e;
  int64_t e_stride;
  const int32_t* label;  // -1: ignored
  double* peak;
  double* rest;
  double* log1p_rest;
  double* picked;
  double* picked_exponential;
  double* coefficient;     // of the gradient's softmax part; 0: the gradient is 0
  double* label_gradient;  // d(loss)/dx at the label
  double* loss;
  double* scale;  // coefficient over the sum of exponentials

  // Without a branch a position: almost always there is none.
  bool AnyNaN() const {
    bool any = false;
    for (int64_t p = 0; p < width; ++p) any |= rest[p] != rest[p];
    return any;
  }
};

// Labels as the kernels read them.
const int32_t* NarrowLabels(const Positions& positions, Workspace& work) {
  const auto count = static_cast<int64_t>(positions.label.size());
  auto* narrow = work.labels.Get<int32_t>(count);
  for (int64_t p = 0; p < count; ++p) narrow[p] = static_cast<int32_t>(positions.label[p]);
  return narrow;
}

template <class C>
Tile<C> Reduce(const BoxJob& job, const Strided& x, int64_t o, int64_t i, int64_t width,
               Workspace& work) {
  const kernels::KernelSet& kernels = kernels::Active();
  // Not a multiple of a page, or the lines of a column would share a set of the cache.
  const int64_t e_stride = (width / kernels::kGroup + 2) * kernels::kGroup;
  const int64_t stride = width + kernels::kGroup;
  double* values = work.hard_rows.Get<double>(9 * stride);
  const auto array = [&](int index) { return values + index * stride; };
  const Tile<C> tile{.o = o,
                     .i = i,
                     .width = width,
                     .e = work.exponentials.Get<C>(job.classes() * e_stride),
                     .e_stride = e_stride,
                     .label = NarrowLabels(work.positions, work),
                     .peak = array(0),
                     .rest = array(1),
                     .log1p_rest = array(2),
                     .picked = array(3),
                     .picked_exponential = array(4),
                     .coefficient = array(5),
                     .label_gradient = array(6),
                     .loss = array(7),
                     .scale = array(8)};
  kernels.reduce_tile[Index(job.run.real())](x.base, x.stride, job.classes(), width, tile.label,
                                             tile.e, e_stride, tile.peak, tile.rest, tile.picked,
                                             tile.picked_exponential);
  kernels.log1p(tile.rest, width, tile.log1p_rest);
  return tile;
}

// What is written per position beside its loss.
template <class C>
void WriteOutputs(const BoxJob& job, const Strided& x, const Tile<C>& tile,
                  const Positions& positions, UnitSums& unit) {
  const OutputSet& wanted = job.run.plan.outputs();
  const Real real = job.run.real();
  const int64_t first_output = tile.o * job.box.inner_count + tile.i;
  for (int64_t p = 0; wanted.log_sum_exp && p < tile.width; ++p) {
    StoreReal(Real::kF64, tile.peak[p] + tile.log1p_rest[p], job.out.log_sum_exp.data(),
              first_output + p);
  }
  for (int64_t p = 0; wanted.argmax_hits && p < tile.width; ++p) {
    const int64_t y = positions.label[p];
    const std::byte* column = x.base + p * kernels::SizeOf(real);
    const bool hit = y >= 0 && IsFirstPeak(real, column, x.stride, job.classes(), y, tile.peak[p]);
    WriteHit(job, first_output + p, hit, unit);
  }
}

template <class C>
void Losses(const BoxJob& job, const Tile<C>& tile, const Positions& positions, UnitSums& unit) {
  const int64_t first_position = job.PositionAt(tile.o, tile.i);
  for (int64_t p = 0; p < tile.width; ++p) {
    tile.coefficient[p] =
        positions.label[p] < 0 ? 0.0 : positions.gradient[p] * positions.weight[p];
  }
  const bool any_nan = tile.AnyNaN();
  for (int64_t p = any_nan ? 0 : tile.width; p < tile.width; ++p) {
    if (std::isnan(tile.rest[p]) && positions.label[p] >= 0) {
      unit.CountNonFinite(first_position + p);
    }
  }
  kernels::Active().labelled({.peak = tile.peak,
                              .rest = tile.rest,
                              .log1p_rest = tile.log1p_rest,
                              .picked = tile.picked,
                              .picked_exponential = tile.picked_exponential,
                              .coefficient = tile.coefficient,
                              .loss = tile.loss,
                              .label_gradient = tile.label_gradient,
                              .scale = tile.scale},
                             tile.width);
  AddLabelledLosses(job, positions, tile.o * job.box.inner_count + tile.i, tile.loss, unit);
}

// A label's gradient such that one more rounding, to the format `out`, is its only one.
template <class C>
C ForKernel(double value, Real out) {
  const bool narrower = out == Real::kF16 || out == Real::kBF16;
  if (std::is_same_v<C, float> && narrower) return kernels::RoundToOdd(value);
  return static_cast<C>(value);
}

// Writes scale[p] * e of the tile, and at[p] instead at each label. at: null, no labels.
template <class C>
void Scale(const BoxJob& job, const Tile<C>& tile, const double* scale, const double* at, Real real,
           std::byte* out, Workspace& work) {
  const Compute compute = job.run.compute();
  const int64_t stride = tile.width + kernels::kGroup;
  C* factor = work.factors.Get<C>(2 * stride);
  C* value = factor + stride;
  const double unit = 1 / kernels::ExpUnit(compute);
  for (int64_t p = 0; p < tile.width; ++p) factor[p] = kernels::ToFinite<C>(scale[p] * unit);
  const int32_t* label = tile.label;
  if (at) {
    for (int64_t p = 0; p < tile.width; ++p) value[p] = ForKernel<C>(at[p], real);
  } else {
    auto* none = work.no_labels.Get<int32_t>(tile.width);
    std::fill_n(none, tile.width, -1);
    label = none;
  }
  kernels::Active().scale_tile[Index(compute)][Index(real)](
      tile.e, tile.e_stride, factor, label, value, job.classes(), tile.width, job.streaming, out,
      job.box.inner_count);
}

template <class C>
void WriteGradient(const BoxJob& job, const Tile<C>& tile, Workspace& work) {
  const Real out = job.run.gradient_real();
  const int64_t stride = job.box.inner_count;
  std::byte* gradient =
      job.out.gradient.data() + job.ElementAt(tile.o, 0, tile.i) * kernels::SizeOf(out);
  const bool kernel_writes_labels = kernels::SizeOf(out) <= static_cast<int64_t>(sizeof(C));
  Scale(job, tile, tile.scale, kernel_writes_labels ? tile.label_gradient : nullptr, out, gradient,
        work);
  for (int64_t p = 0; !kernel_writes_labels && p < tile.width; ++p) {
    if (tile.label[p] < 0) continue;
    StoreReal(out, tile.label_gradient[p], gradient, tile.label[p] * stride + p);
  }
  // 0 * NaN, where exactly 0 is promised.
  const bool any_nan = tile.AnyNaN();
  for (int64_t p = any_nan ? 0 : tile.width; p < tile.width; ++p) {
    if (tile.coefficient[p] != 0 || !std::isnan(tile.rest[p])) continue;
    for (int64_t k = 0; k < job.classes(); ++k) StoreReal(out, 0, gradient, k * stride + p);
  }
}

template <class C>
void Run(const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work, UnitSums& unit) {
  const OutputSet& wanted = job.run.plan.outputs();
  Positions& positions = work.positions;
  positions.Load(job.run, job.PositionAt(o, i), width);
  const Strided x = Predictions(job, o, i, width, work);
  const Tile<C> tile = Reduce<C>(job, x, o, i, width, work);
  WriteOutputs(job, x, tile, positions, unit);
  Losses(job, tile, positions, unit);
  if (wanted.probabilities) {
    const Real real = job.run.real();
    for (int64_t p = 0; p < width; ++p) tile.loss[p] = 1.0 / (1.0 + tile.rest[p]);
    Scale(job, tile, /*scale=*/tile.loss, nullptr, real,
          job.out.probabilities.data() + job.ElementAt(o, 0, i) * kernels::SizeOf(real), work);
  }
  if (wanted.gradient) WriteGradient(job, tile, work);
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
