// Softmax with one label a position where the inner extent is not 1: lanes across positions.
//
//   cut      a unit at a time; tiles are cut here, long ones in one pass over a box in one piece
//   scratch  blocks of exponentials [classes][kTileBlock]: three in one pass, else all of a tile;
//            predictions that come in pieces are gathered tile by tile
//   run      in one pass, if the gradient alone is wanted in the format of the predictions: a block
//            is scaled and another one loaded while a third is reduced (Fuse)
//            else in phases: reduce, losses, hits, probabilities, scale (RunInPhases)
//   head     found once a block is reduced, before it is scaled; cross entropy has none
//   label    the gradient's entry there is written by the kernel, except into a wider format

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "core/exec/hits.h"
#include "core/exec/runner.h"
#include "core/exec/softmax_phases.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

// Positions of a tile of which nothing is kept but what belongs to its positions. The first and the
// last block of a tile have no neighbour to overlap with, so such tiles are long.
constexpr int64_t kLongTile = 2048;

// Blocks of exponentials that a tile of `width` positions needs: one being loaded, one reduced and
// one written, or all.
constexpr int64_t BlocksKept(int64_t width, bool one_pass) {
  const int64_t blocks = (width + kernels::kTileBlock - 1) / kernels::kTileBlock;
  return one_pass && blocks > 3 ? 3 : blocks;
}

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

// One tile. Arrays hold one element per position.
template <class C>
struct Tile {
  int64_t i;  // of the first position, within the box
  int64_t width;
  Strided x;
  C* e;
  const int32_t* label;  // below 0: ignored
  kernels::LabelledPositions at;
  C* factor;
  C* label_value;
  bool any_nan;

  kernels::TileInput In() const {
    return {.x = x.base, .stride = x.stride, .width = width, .label = label};
  }
};

// The tiles of some positions of one outer index, one after the other.
template <class C>
class Tiles {
 public:
  Tiles(const BoxJob& job, int64_t o, Workspace& work, UnitSums& unit)
      : job_(job), o_(o), work_(work), unit_(unit) {
    fused_ = OnePassSuffices(job.run.plan);
  }

  void Run(int64_t begin, int64_t count, int64_t width) {
    const int64_t end = begin + count;
    if (fused_ && job_.in.predictions.pieces().size() == 1) width = kLongTile;
    for (int64_t i = begin; i < end && !kernels::Stopped(job_.stop); i += width) {
      Tile<C> tile = Open(i, std::min(end - i, width));
      if (fused_) {
        Fuse(tile);
      } else {
        RunInPhases(tile);
      }
    }
  }

 private:
  std::byte* GradientOf(const Tile<C>& tile) const {
    const int64_t element = job_.ElementAt(o_, 0, tile.i);
    return job_.out.gradient.data() + element * kernels::SizeOf(job_.run.gradient_real());
  }

  Tile<C> Open(int64_t i, int64_t width) {
    Positions& positions = work_.positions;
    LoadLabelled(job_.run, job_.PositionAt(o_, i), width, positions);
    const bool has_head = job_.run.softmax_head != nullptr;
    kernels::LabelledPositions at = LabelledArrays(width, has_head, work_.labelled);
    if (job_.run.class_weights.given() && !has_head) {
      for (int64_t p = 0; p < width; ++p) {
        at.coefficient[p] = positions.gradient[p] * positions.weight[p];
      }
    } else {
      at.coefficient = positions.gradient.data();
      if (!has_head) at.softmax_coefficient = at.coefficient;
    }
    const int64_t blocks = BlocksKept(width, fused_);
    C* narrow = work_.factors.Get<C>(2 * (width + kernels::kGroup));
    return {.i = i,
            .width = width,
            .x = Predictions(job_, o_, i, width, work_.gathered),
            .e = work_.exponentials.Get<C>(blocks * job_.classes() * kernels::kTileBlock),
            .label = positions.label.data(),
            .at = at,
            .factor = narrow,
            .label_value = narrow + width + kernels::kGroup,
            .any_nan = false};
  }

  void Fuse(Tile<C>& tile) {
    const std::optional<kernels::SoftmaxHead> head = HeadOf(job_.run, work_.positions);
    tile.any_nan = kernels::Active().fused_tile[Index(job_.run.real())](
        job_.classes(), tile.In(), tile.at, head ? &*head : nullptr, tile.e,
        {.streaming = job_.streaming, .out = GradientOf(tile), .stride = job_.box.inner_count},
        job_.stop);
    SettleNaN(tile);
    Losses(tile);
  }

  void RunInPhases(Tile<C>& tile) {
    tile.any_nan = kernels::Active().reduce_tile[Index(job_.run.real())](
        job_.classes(), tile.In(), tile.at, tile.e, job_.stop);
    if (const auto head = HeadOf(job_.run, work_.positions)) {
      kernels::Active().apply_head(*head, tile.at, tile.width);
    }
    Losses(tile);
    WriteHits(tile);
    WriteRanks(tile);
    if (job_.run.plan.outputs().probabilities) WriteProbabilities(tile);
    if (job_.run.plan.outputs().gradient) WriteGradient(tile);
  }

  void Losses(Tile<C>& tile) {
    const int64_t first_output = o_ * job_.box.inner_count + tile.i;
    const bool has_head = job_.run.softmax_head != nullptr;
    if (!has_head) kernels::Active().log1p(tile.at.rest, tile.width, tile.at.log1p_rest);
    for (int64_t p = 0; job_.run.plan.outputs().log_sum_exp && p < tile.width; ++p) {
      StoreReal(Real::kF64, tile.at.peak[p] + tile.at.log1p_rest[p], job_.out.log_sum_exp.data(),
                first_output + p);
    }
    WriteLabelLogProbabilities(job_, first_output, work_.positions, tile.at);
    for (int64_t p = tile.any_nan ? 0 : tile.width; p < tile.width; ++p) {
      if (std::isnan(tile.at.rest[p]) && tile.label[p] >= 0) {
        unit_.CountNonFinite(job_.PositionAt(o_, tile.i) + p);
      }
    }
    if (!has_head) kernels::Active().labelled_losses(tile.at, tile.width);
    WriteEntropies(tile);
    AddLabelledLosses(job_, work_.positions, first_output, tile.at, unit_);
  }

  void WriteHits(const Tile<C>& tile) {
    if (!job_.run.plan.outputs().argmax_hits) return;
    const Real real = job_.run.real();
    for (int64_t p = 0; p < tile.width; ++p) {
      const int64_t y = tile.label[p];
      const std::byte* column = tile.x.base + p * kernels::SizeOf(real);
      const bool hit = y >= 0 && IsArgMax(real, column, tile.x.stride, job_.classes(), y,
                                          tile.at.peak[p], job_.stop);
      WriteHit(job_, o_ * job_.box.inner_count + tile.i + p, hit, unit_);
    }
  }

  // Class by class, so that memory is read in its order.
  void WriteRanks(const Tile<C>& tile) {
    if (!job_.run.plan.outputs().label_rank) return;
    const Real real = job_.run.real();
    const auto x = [&](int64_t k, int64_t p) {
      return LoadReal(real, tile.x.base, k * tile.x.stride + p);
    };
    std::vector<int64_t> rank(tile.width, 0);
    std::vector<double> own(tile.width, 0);
    for (int64_t p = 0; p < tile.width; ++p) {
      if (tile.label[p] >= 0) own[p] = x(tile.label[p], p);
    }
    for (int64_t k = 0; job_.GoesOn(k); ++k) {
      for (int64_t p = 0; p < tile.width; ++p) {
        const double value = x(k, p);
        if (value > own[p] || (value == own[p] && k < tile.label[p])) ++rank[p];
        if (std::isnan(value)) rank[p] = std::numeric_limits<int64_t>::min();
      }
    }
    for (int64_t p = 0; p < tile.width; ++p) {
      const bool has_rank = tile.label[p] >= 0 && rank[p] >= 0;
      WriteRank(job_, o_ * job_.box.inner_count + tile.i + p, has_rank ? rank[p] : -1);
    }
  }

  void WriteEntropies(const Tile<C>& tile) {
    if (!job_.run.plan.outputs().entropy) return;
    std::vector<double> sum(tile.width + kernels::kGroup);
    kernels::Active().entropy_tile[Index(job_.run.real())](job_.classes(), tile.In(), tile.e,
                                                           tile.at.peak, sum.data(), job_.stop);
    for (int64_t p = 0; p < tile.width; ++p) {
      WriteEntropy(job_, o_ * job_.box.inner_count + tile.i + p, tile.at.log1p_rest[p],
                   tile.at.rest[p], sum[p]);
    }
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
      tile.label_value[p] = static_cast<C>(tile.at.label_gradient[p]) + C{0};  // no -0
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
    if (!tile.any_nan) return;
    FillColumns(
        tile, real, out, [&](int64_t p) { return std::isnan(tile.at.rest[p]); },
        [](int64_t) { return kNaN; });
  }

  void WriteGradient(const Tile<C>& tile) {
    const Real out = job_.run.gradient_real();
    if (!job_.run.softmax_head) kernels::Active().labelled_gradients(tile.at, tile.width);
    MakeFactors(tile, tile.at.scale);
    MakeLabelValues(tile, out);
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
    const int32_t* label = tile.label;
    if (!labels) {
      auto* none = work_.no_labels.Get<int32_t>(tile.width);
      std::fill_n(none, tile.width, -1);
      label = none;
    }
    const kernels::TileScale scale = {
        .e = tile.e,
        .width = tile.width,
        .factor = tile.factor,
        .label_value = tile.label_value,
        .label = label,
        .to = {.streaming = job_.streaming,
               .out = out + job_.ElementAt(o_, 0, tile.i) * kernels::SizeOf(real),
               .stride = job_.box.inner_count}};
    kernels::Active().scale_tile[Index(job_.run.compute())][Index(real)](job_.classes(), scale,
                                                                         job_.stop);
  }

  // One and the same NaN throughout a column of NaN, whatever NaN it comes from; 0 where exactly 0
  // is promised.
  void SettleNaN(const Tile<C>& tile) const {
    const double* coefficient = tile.at.coefficient;
    const auto is_nan = [](double c) { return std::isnan(c); };
    const bool may_be_nan = job_.run.plan.tensors().upstream_gradient || job_.run.softmax_head;
    const bool any_nan =
        tile.any_nan || (may_be_nan && std::any_of(coefficient, coefficient + tile.width, is_nan));
    if (!any_nan) return;
    FillColumns(
        tile, job_.run.gradient_real(), GradientOf(tile),
        [&](int64_t p) { return std::isnan(tile.at.rest[p]) || std::isnan(coefficient[p]); },
        [&](int64_t p) { return coefficient[p] == 0 ? 0 : kNaN; });
  }

  // Element (k, p) of `out` becomes value(p) where where(p).
  void FillColumns(const Tile<C>& tile, Real real, std::byte* out, auto where, auto value) const {
    for (int64_t k = 0; k < job_.classes(); ++k) {
      if (k % kernels::kGroup == 0 && kernels::Stopped(job_.stop)) return;
      for (int64_t p = 0; p < tile.width; ++p) {
        if (where(p)) StoreReal(real, value(p), out, k * job_.box.inner_count + p);
      }
    }
  }

  const BoxJob& job_;
  int64_t o_;
  Workspace& work_;
  UnitSums& unit_;
  bool fused_;  // one pass gives all that is wanted
};

void Run(const BoxJob& job, const Cut& cut, const Stretch& stretch, Workspace& work,
         UnitSums& unit) {
  if (job.run.compute() == Compute::kFloat) {
    Tiles<float>(job, stretch.o, work, unit).Run(stretch.i, stretch.count, cut.tile);
  } else {
    Tiles<double>(job, stretch.o, work, unit).Run(stretch.i, stretch.count, cut.tile);
  }
}

Cut CutUnits(const LossPlan& plan, const Box& box, bool) {
  Cut cut = CutIntoTiles(plan, box);
  cut.stretch = cut.unit;
  return cut;
}

int64_t ScratchBytes(const LossPlan& plan, bool one_piece) {
  const Cut cut = CutIntoTiles(plan, plan.whole());
  const bool one_pass = OnePassSuffices(plan);
  const Real real = RealOf(plan.dtype());
  const int64_t most = one_pass && one_piece ? kLongTile : cut.tile;
  const int64_t width = std::min({most, cut.unit, cut.positions});
  const int64_t elements = plan.classes() * kernels::kTileBlock * BlocksKept(width, one_pass);
  const int64_t gathered = one_piece ? 0 : plan.classes() * width * kernels::SizeOf(real);
  return elements * SizeOf(ComputeOf(real)) + gathered + width * kBytesPerPosition + kSlackBytes;
}

Compute ComputeType(const LossPlan& plan) { return ComputeOf(RealOf(plan.dtype())); }

}  // namespace

const Runner kSoftmaxTiles = {CutUnits, ScratchBytes, ComputeType, Run};

}  // namespace lossd
