#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
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
Strided Predictions(const BoxJob& job, int64_t o, int64_t i, int64_t width, Scratch& scratch) {
  const int64_t size = kernels::SizeOf(job.run.real());
  const int64_t span = ((job.classes() - 1) * job.box.inner_count + width) * size;
  const int64_t first = job.ElementAt(o, 0, i) * size;
  if (const std::byte* whole = job.in.predictions.Contiguous(first, span)) {
    return {whole, job.box.inner_count};
  }
  auto* gathered = scratch.Get<std::byte>(job.classes() * width * size);
  for (int64_t k = 0; job.GoesOn(k); ++k) {
    job.in.predictions.CopyTo(job.ElementAt(o, k, i) * size, width * size,
                              gathered + k * width * size);
  }
  return {gathered, width};
}

// One tile on its way: loaded, reduced, scaled. Arrays hold one element per position.
template <class C>
struct Tile {
  int64_t i = 0;  // of the first position, within the box
  int64_t width = 0;
  Strided x = {};
  C* e = nullptr;
  int64_t e_stride = 0;
  int32_t* label = nullptr;  // below 0: ignored
  kernels::LabelledPositions at = {};
  C* factor = nullptr;
  C* label_value = nullptr;
  bool any_nan = false;

  kernels::TileScale Scaled(const BoxJob& job, std::byte* out) const {
    return {.e = e,
            .e_stride = e_stride,
            .width = width,
            .factor = factor,
            .label_value = label_value,
            .label = label,
            .streaming = job.streaming,
            .out = out,
            .stride = job.box.inner_count};
  }
};

// The tiles of some positions of one outer index, one after the other through the three stages.
template <class C>
class Tiles {
 public:
  Tiles(const BoxJob& job, int64_t o, int64_t begin, int64_t count, Workspace& work, UnitSums& unit)
      : job_(job), o_(o), begin_(begin), end_(begin + count), work_(work), unit_(unit) {
    const OutputSet& wanted = job.run.plan.outputs();
    gradient_beside_ = wanted.gradient && job.run.gradient_real() == job.run.real();
  }

  void Run(int64_t width) {
    Tile<C> reduced;
    Tile<C> loaded;
    size_t next_scratch = 0;
    for (int64_t i = begin_; i < end_ || loaded.width > 0 || reduced.width > 0; i += width) {
      if (kernels::Stopped(job_.stop)) return;
      TileScratch& scratch = work_.tiles[next_scratch++ % std::size(work_.tiles)];
      Tile<C> tile = Begin(i, std::clamp<int64_t>(end_ - i, 0, width), scratch);
      Advance(tile, loaded, reduced);
      reduced = loaded;
      loaded = tile;
    }
  }

 private:
  std::byte* GradientOf(const Tile<C>& tile) const {
    const int64_t element = job_.ElementAt(o_, 0, tile.i);
    return job_.out.gradient.data() + element * kernels::SizeOf(job_.run.gradient_real());
  }

  Tile<C> Begin(int64_t i, int64_t width, TileScratch& scratch) {
    if (width == 0) return {};
    // Not a multiple of a page, or the lines of a column would share a set of the cache.
    const int64_t e_stride = (width / kernels::kGroup + 2) * kernels::kGroup;
    const int64_t stride = width + kernels::kGroup;
    C* narrow = scratch.narrow.Get<C>(2 * stride);
    return {.i = i,
            .width = width,
            .x = Predictions(job_, o_, i, width, scratch.gathered),
            .e = scratch.exponentials.Get<C>(job_.classes() * e_stride),
            .e_stride = e_stride,
            .label = scratch.labels.Get<int32_t>(width),
            .at = LabelledArrays(width, scratch.values),
            .factor = narrow,
            .label_value = narrow + stride};
  }

  // Loads one tile, reduces the one loaded before, and writes the gradient of the one before that.
  void Advance(const Tile<C>& next, Tile<C>& tile, const Tile<C>& last) {
    Positions& positions = work_.positions;
    if (tile.width > 0) {
      positions.Load(job_.run, job_.PositionAt(o_, tile.i), tile.width);
      std::copy_n(positions.label.data(), tile.width, tile.label);
    }
    const bool scales = gradient_beside_ && last.width > 0;
    tile.any_nan = kernels::Active().advance_tiles[Index(job_.run.real())](
        job_.classes(),
        {.x = next.x.base,
         .stride = next.x.stride,
         .width = next.width,
         .e = next.e,
         .e_stride = next.e_stride},
        {.x = tile.x.base,
         .stride = tile.x.stride,
         .width = tile.width,
         .e = tile.e,
         .e_stride = tile.e_stride,
         .label = tile.label,
         .peak = tile.at.peak,
         .rest = tile.at.rest,
         .picked = tile.at.picked,
         .picked_exponential = tile.at.picked_exponential},
        scales ? last.Scaled(job_, GradientOf(last)) : kernels::TileScale{}, job_.stop);
    if (scales) SettleNaN(last);
    if (tile.width > 0) Finish(tile);
  }

  // What a reduced tile says.
  void Finish(Tile<C>& tile) {
    kernels::Active().log1p(tile.at.rest, tile.width, tile.at.log1p_rest);
    WriteOutputs(tile);
    Losses(tile);
    if (job_.run.plan.outputs().probabilities) WriteProbabilities(tile);
    if (!job_.run.plan.outputs().gradient) return;
    const Real out = job_.run.gradient_real();
    MakeFactors(tile, tile.at.scale);
    MakeLabelValues(tile, out);
    if (!gradient_beside_) WriteGradient(tile);
  }

  // What is written per position beside its loss.
  void WriteOutputs(const Tile<C>& tile) {
    const OutputSet& wanted = job_.run.plan.outputs();
    const Real real = job_.run.real();
    const int64_t first_output = o_ * job_.box.inner_count + tile.i;
    for (int64_t p = 0; wanted.log_sum_exp && p < tile.width; ++p) {
      StoreReal(Real::kF64, tile.at.peak[p] + tile.at.log1p_rest[p], job_.out.log_sum_exp.data(),
                first_output + p);
    }
    for (int64_t p = 0; wanted.argmax_hits && p < tile.width; ++p) {
      const int64_t y = tile.label[p];
      const std::byte* column = tile.x.base + p * kernels::SizeOf(real);
      const bool hit = y >= 0 && IsFirstPeak(real, column, tile.x.stride, job_.classes(), y,
                                             tile.at.peak[p], job_.stop);
      WriteHit(job_, first_output + p, hit, unit_);
    }
  }

  void Losses(Tile<C>& tile) {
    const Positions& positions = work_.positions;
    for (int64_t p = 0; p < tile.width; ++p) {
      tile.at.coefficient[p] = positions.gradient[p] * positions.weight[p];
    }
    for (int64_t p = tile.any_nan ? 0 : tile.width; p < tile.width; ++p) {
      if (std::isnan(tile.at.rest[p]) && tile.label[p] >= 0) {
        unit_.CountNonFinite(job_.PositionAt(o_, tile.i) + p);
      }
    }
    kernels::Active().labelled(tile.at, tile.width);
    AddLabelledLosses(job_, positions, o_ * job_.box.inner_count + tile.i, tile.at.loss, unit_);
  }

  void MakeFactors(const Tile<C>& tile, const double* scale) {
    const Compute compute = job_.run.compute();
    kernels::Active().narrow_finite[Index(compute)](scale, tile.width,
                                                    1 / kernels::ExpUnit(compute), tile.factor);
  }

  // Such that one more rounding, to the format `out`, is their only one.
  void MakeLabelValues(const Tile<C>& tile, Real out) {
    const bool narrower = out == Real::kF16 || out == Real::kBF16;
    if (std::is_same_v<C, float> && narrower) {
      for (int64_t p = 0; p < tile.width; ++p) {
        tile.label_value[p] = kernels::RoundToOdd(tile.at.label_gradient[p]);
      }
      return;
    }
    for (int64_t p = 0; p < tile.width; ++p) {
      tile.label_value[p] = static_cast<C>(tile.at.label_gradient[p]);
    }
  }

  void WriteProbabilities(const Tile<C>& tile) {
    double* one_over_sum = tile.at.loss;  // added up already
    for (int64_t p = 0; p < tile.width; ++p) one_over_sum[p] = 1.0 / (1.0 + tile.at.rest[p]);
    MakeFactors(tile, one_over_sum);
    const Real real = job_.run.real();
    WriteScaled(tile, /*labels=*/false, real, job_.out.probabilities.data());
    std::byte* out =
        job_.out.probabilities.data() + job_.ElementAt(o_, 0, tile.i) * kernels::SizeOf(real);
    FillNaN(tile, real, out, [](int64_t) { return kNaN; });
  }

  // The gradient in a format that the predictions are not in.
  void WriteGradient(const Tile<C>& tile) {
    const Real out = job_.run.gradient_real();
    const bool kernel_writes_labels = kernels::SizeOf(out) <= static_cast<int64_t>(sizeof(C));
    WriteScaled(tile, kernel_writes_labels, out, job_.out.gradient.data());
    for (int64_t p = 0; !kernel_writes_labels && p < tile.width; ++p) {
      if (tile.label[p] < 0) continue;
      StoreReal(out, tile.at.label_gradient[p], GradientOf(tile),
                tile.label[p] * job_.box.inner_count + p);
    }
    SettleNaN(tile);
  }

  void WriteScaled(const Tile<C>& tile, bool labels, Real real, std::byte* out) {
    kernels::TileScale scale =
        tile.Scaled(job_, out + job_.ElementAt(o_, 0, tile.i) * kernels::SizeOf(real));
    if (!labels) {
      auto* none = work_.no_labels.Get<int32_t>(tile.width);
      std::fill_n(none, tile.width, -1);
      scale.label = none;
    }
    kernels::Active().scale_tile[Index(job_.run.compute())][Index(real)](job_.classes(), scale,
                                                                         job_.stop);
  }

  // One and the same NaN throughout a column of NaN, whatever its predictions held; 0 where exactly
  // 0 is promised.
  void SettleNaN(const Tile<C>& tile) const {
    const auto value = [&tile](int64_t p) { return tile.at.coefficient[p] == 0 ? 0 : kNaN; };
    FillNaN(tile, job_.run.gradient_real(), GradientOf(tile), value);
  }

  void FillNaN(const Tile<C>& tile, Real real, std::byte* out, auto value) const {
    for (int64_t k = tile.any_nan ? 0 : job_.classes(); k < job_.classes(); ++k) {
      if (k % kernels::kGroup == 0 && kernels::Stopped(job_.stop)) return;
      for (int64_t p = 0; p < tile.width; ++p) {
        if (!std::isnan(tile.at.rest[p])) continue;
        StoreReal(real, value(p), out, k * job_.box.inner_count + p);
      }
    }
  }

  const BoxJob& job_;
  int64_t o_;
  int64_t begin_;
  int64_t end_;
  Workspace& work_;
  UnitSums& unit_;
  bool gradient_beside_;  // of the predictions' format: written while the next tiles are computed
};

}  // namespace

void RunSoftmaxTiles(const BoxJob& job, int64_t o, int64_t i, int64_t count, int64_t width,
                     Workspace& work, UnitSums& unit) {
  if (job.run.compute() == Compute::kFloat) {
    Tiles<float>(job, o, i, count, work, unit).Run(width);
  } else {
    Tiles<double>(job, o, i, count, work, unit).Run(width);
  }
}

}  // namespace lossd
