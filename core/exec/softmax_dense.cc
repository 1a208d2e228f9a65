// Softmax with dense targets: class probabilities, or smoothed labels.
//
//   cut      a tile of rows at a time; lanes are turned into rows
//   scratch  the exponentials of a tile, and the coefficients c_k = w(k) t'_k
//   run      in phases: reduce, other outputs, losses, scale
//   loss     sum_k c_k (lse - x_k); the gradient is a (T s_k - c_k) with T = sum_k c_k

#include <algorithm>
#include <cmath>

#include "core/exec/dense_targets.h"
#include "core/exec/hits.h"
#include "core/exec/position_sums.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"
#include "core/exec/softmax_phases.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::LabelledPositions;

Compute ComputeType(const LossPlan& plan) { return ComputeOf(RealOf(plan.dtype())); }

// Losses of the rows, and the coefficients of their softmax; where a row is ignored all are 0.
void SumRows(const BoxJob& job, const Rows& rows, const LabelledPositions& at,
             const CoefficientRows& c, const Positions& positions, UnitSums& unit) {
  const int64_t classes = job.classes();
  const kernels::Real real = job.run.real();
  const double cap = job.run.loss_cap;
  const double zeta = job.run.lse_square_scale;
  for (int64_t r = 0; r < rows.count; ++r) {
    at.coefficient[r] = at.loss[r] = 0;
    if (positions.label[r] < 0) continue;
    const kernels::DenseSums sums = kernels::Active().dense_sums[Index(real)](
        rows.predictions + r * classes * kernels::SizeOf(real), c.Row(r), classes,
        {at.peak[r], at.rest[r]}, at.log1p_rest[r], cap, job.stop);
    at.loss[r] = sums.loss;
    if (std::isinf(cap) && sums.mass != 0) at.loss[r] += sums.mass * at.log1p_rest[r];
    double slope = sums.mass;
    if (zeta > 0) {
      const double lse = at.peak[r] + at.log1p_rest[r];
      at.loss[r] += zeta * lse * lse;
      slope += 2 * zeta * lse;
    }
    if (std::isnan(at.rest[r])) at.loss[r] = at.rest[r];
    if (sums.clamped) ++unit.sums.clamped_count;
    at.coefficient[r] = positions.gradient[r] * slope;
  }
}

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  RowTile tile(job, stretch, work);
  const Rows rows = tile.Open();
  Positions& positions = work.positions;
  positions.Load(job.run, rows.first_position, rows.count, WeightOf::kTargets);
  const LabelledPositions at = LabelledArrays(rows.count, /*has_head=*/false, work.labelled);
  const Reduced reduced = ReduceRows(job, rows, at, work);
  WriteLogSumExps(job, rows, at, positions, unit);
  const auto label = [&](int64_t r) { return TargetClass(job, rows, r, positions); };
  WriteRowHits(job, rows, unit, label, [&](int64_t r) { return at.peak[r]; });
  WriteRowRanks(job, rows, label);
  WriteRowEntropies(job, rows, reduced);
  if (job.run.plan.outputs().label_log_probabilities) {
    for (int64_t r = 0; r < rows.count; ++r) {
      const int64_t y = label(r);
      at.picked[r] =
          y < 0 ? kNaN : LoadReal(job.run.real(), rows.predictions, r * job.classes() + y);
    }
    WriteLabelLogProbabilities(job, rows.first_output, positions, at);
  }
  WriteProbabilities(job, rows, reduced, work);

  const CoefficientRows c =
      MakeCoefficients(job.run, rows, ComputeType(job.run.plan), job.stop, work);
  SumRows(job, rows, at, c, positions, unit);
  AddZLosses(job, positions, at, unit);
  AddPositions(job, positions, rows.first_output, at.loss, c.weight.data(), unit);
  if (rows.gradient) {
    ScaleRows(job, reduced, at.coefficient, c.Row(0), positions.gradient.data(), rows.count,
              job.run.gradient_real(), rows.gradient, work);
    for (int64_t r = 0; r < rows.count; ++r) {
      const double a = positions.gradient[r];
      if (IsLeftWrong(a, at.rest[r])) FillGradientRow(job, rows, r, a);
    }
  }
  tile.Close();
}

Cut CutTiles(const LossPlan& plan, const Box& box, bool) { return CutIntoTiles(plan, box); }

int64_t ScratchBytes(const LossPlan& plan, bool) {
  const Cut cut = CutIntoTiles(plan, plan.whole());
  const int64_t elements = StretchElements(plan, cut);
  return RowTileBytes(plan, cut) + elements * SizeOf(ComputeType(plan)) +
         CoefficientBytes(plan, ComputeType(plan), elements);
}

}  // namespace

const Runner kSoftmaxDense = {CutTiles, ScratchBytes, ComputeType, Run};

}  // namespace lossd
