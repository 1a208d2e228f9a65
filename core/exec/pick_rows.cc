// Losses of Family::kPick with dense targets: every class of a row counts by itself.
//
//   cut      a tile of rows at a time; lanes are turned into rows
//   scratch  the coefficients c_k = w(k) t'_k of a tile, and one row of gradient in double
//   run      row by row in double: loss -sum_k c_k f(x_k), gradient -a c_k f'(x_k)

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/exec/dense_targets.h"
#include "core/exec/hits.h"
#include "core/exec/pick_heads.h"
#include "core/exec/position_sums.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::Real;

template <class Head>
void RunRows(const Head& head, const BoxJob& job, const Rows& rows, Workspace& work,
             UnitSums& unit) {
  const kernels::KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  const Real real = job.run.real();
  const Real out = job.run.gradient_real();
  Positions& positions = work.positions;
  positions.Load(job.run, rows.first_position, rows.count, WeightOf::kTargets);
  const CoefficientRows c = MakeCoefficients(job.run, rows, Compute::kDouble, job.stop, work);
  auto* g = work.exponentials.Get<double>(classes);
  auto* loss = work.losses.Get<double>(rows.count);

  WriteRowHits(
      job, rows, unit, [&](int64_t r) { return TargetClass(job, rows, r, positions); },
      [](int64_t) { return kNaN; });
  for (int64_t r = 0; r < rows.count; ++r) {
    const std::byte* x = rows.predictions + r * classes * kernels::SizeOf(real);
    const auto* targets = reinterpret_cast<const double*>(c.Row(r));
    const bool counts = positions.label[r] >= 0;
    kernels::PointwiseSums sums{};
    if (counts) {
      sums = head.Row(real, x, targets, classes, g, job.stop);
      if (sums.clamped && !sums.nonfinite) ++unit.sums.clamped_count;
      if (sums.nonfinite) unit.CountNonFinite(rows.first_position + r);
      loss[r] = sums.nonfinite ? kNaN : sums.loss;
    }
    if (!rows.gradient) continue;
    std::byte* gradient = rows.gradient + r * classes * kernels::SizeOf(out);
    const double a = positions.gradient[r];
    if (a == 0) {
      std::memset(gradient, 0, classes * kernels::SizeOf(out));
      continue;
    }
    if (sums.nonfinite) std::fill_n(g, classes, kNaN);
    const double factor = kernels::ToFinite<double>(a);
    kernels.scale_rows[Index(Compute::kDouble)][Index(out)](g, &factor, 1, classes, job.streaming,
                                                            gradient, job.stop);
  }
  AddPositions(job, positions, rows.first_output, loss, c.weight.data(), unit);
}

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  RowTile tile(job, stretch, work);
  const Rows rows = tile.Open();
  WithPickHead(job.run.plan.spec().loss,
               [&](const auto& head) { RunRows(head, job, rows, work, unit); });
  tile.Close();
}

Cut CutTiles(const LossPlan& plan, const Box& box, bool) { return CutIntoTiles(plan, box); }

int64_t ScratchBytes(const LossPlan& plan, bool) {
  const Cut cut = CutIntoTiles(plan, plan.whole());
  return RowTileBytes(plan, cut) + plan.classes() * 8 +
         CoefficientBytes(plan, Compute::kDouble, StretchElements(plan, cut));
}

Compute ComputeType(const LossPlan&) { return Compute::kDouble; }

}  // namespace

const Runner kPickRows = {CutTiles, ScratchBytes, ComputeType, Run};

}  // namespace lossd
