// Softmax of contiguous rows with one label each.
//
//   cut      several tiles of rows at a time if they lie in one piece: nothing is gathered
//   scratch  the exponentials of two rows in one pass, of a whole stretch in phases
//   run      in one pass, if the gradient alone is wanted in the format of the predictions: each
//            row is scaled while the next one is reduced (RunOnePass)
//            else in phases: reduce, other outputs, losses, scale (RunInPhases)
//   head     found once a row is reduced, before it is scaled; cross entropy has none
//   label    the gradient's entry there is written last, from 1 - s_y without cancellation

#include <algorithm>
#include <optional>

#include "core/exec/hits.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"
#include "core/exec/softmax_phases.h"

namespace lossd {
namespace {

using kernels::Compute;
using kernels::KernelSet;
using kernels::LabelledPositions;
using kernels::Real;

bool IsOnePass(const LossPlan& plan) {
  return OnePassSuffices(plan) &&
         kernels::Active().fused_rows[Index(RealOf(plan.dtype()))] != nullptr;
}

// All that is known before the rows are looked at.
LabelledPositions Prepare(const BoxJob& job, const Rows& rows, Workspace& work) {
  const bool has_head = job.run.softmax_head != nullptr;
  const LabelledPositions at = LabelledArrays(rows.count, has_head, work.labelled);
  const Positions& positions = work.positions;
  const Real real = job.run.real();
  const int64_t classes = job.classes();
  const auto prepare = [&](auto prediction_at) {
    for (int64_t r = 0; r < rows.count; ++r) {
      const int64_t y = positions.label[r];
      at.coefficient[r] = y < 0 ? 0.0 : positions.gradient[r] * positions.weight[r];
      at.picked[r] = y < 0 ? 0.0 : prediction_at(r * classes + y);
      at.picked_exponential[r] = 0;
    }
  };
  if (real == Real::kF32) {
    prepare([&](int64_t i) { return LoadReal(Real::kF32, rows.predictions, i); });
  } else {
    prepare([&](int64_t i) { return LoadReal(real, rows.predictions, i); });
  }
  for (int64_t r = 0; has_head && r < rows.count; ++r) {
    at.coefficient[r] = positions.label[r] < 0 ? 0.0 : positions.gradient[r];
  }
  return at;
}

void AddLosses(const BoxJob& job, const Rows& rows, const LabelledPositions& at, Workspace& work,
               UnitSums& unit) {
  if (!job.run.softmax_head) {
    kernels::Active().labelled_losses(at, rows.count);
    kernels::Active().labelled_gradients(at, rows.count);
  }
  AddLabelledLosses(job, work.positions, rows.first_output, at, unit);
}

// What the scaled softmax does not give: the labels' entries, and exact zeros.
void FinishGradient(const BoxJob& job, const Rows& rows, const LabelledPositions& at,
                    const Positions& positions) {
  const Real out = job.run.gradient_real();
  const int64_t classes = job.classes();
  const auto finish = [&](auto store) {
    for (int64_t r = 0; r < rows.count; ++r) {
      if (IsLeftWrong(at.coefficient[r], at.rest[r])) {
        FillGradientRow(job, rows, r, at.coefficient[r]);
        continue;
      }
      store(at.label_gradient[r], r * classes + positions.label[r]);
    }
  };
  if (out == Real::kF32) {
    finish([&](double value, int64_t i) { StoreReal(Real::kF32, value, rows.gradient, i); });
  } else {
    finish([&](double value, int64_t i) { StoreReal(out, value, rows.gradient, i); });
  }
}

void RunOnePass(const BoxJob& job, const Rows& rows, const LabelledPositions& at, Workspace& work,
                UnitSums& unit) {
  const KernelSet& kernels = kernels::Active();
  const int64_t classes = job.classes();
  const int64_t chunks = kernels::Chunks(Compute::kFloat, classes);
  const kernels::FusedScratch scratch{
      .e = work.exponentials.Get<float>(2 * (classes + kernels::kGroup)),
      .chunk_scale = work.chunk_scales.Get<double>(chunks),
      .factor = work.factors.Get<float>(chunks)};
  const std::optional<kernels::SoftmaxHead> head = HeadOf(job.run, work.positions);
  kernels.fused_rows[Index(job.run.real())](rows.predictions, rows.count, classes, at,
                                            head ? &*head : nullptr, work.positions.label.data(),
                                            job.streaming, scratch, rows.gradient, job.stop);
  if (!head) kernels.log1p(at.rest, rows.count, at.log1p_rest);
  WriteLogSumExps(job, rows, at, work.positions, unit);
  WriteLabelLogProbabilities(job, rows.first_output, work.positions, at);
  AddLosses(job, rows, at, work, unit);
  FinishGradient(job, rows, at, work.positions);
}

void RunInPhases(const BoxJob& job, const Rows& rows, const LabelledPositions& at, Workspace& work,
                 UnitSums& unit) {
  const Positions& positions = work.positions;
  const Reduced reduced = ReduceRows(job, rows, at, work);
  WriteLogSumExps(job, rows, at, positions, unit);
  WriteLabelLogProbabilities(job, rows.first_output, positions, at);
  const auto label = [&](int64_t r) { return positions.label[r]; };
  WriteRowHits(job, rows, unit, label, [&](int64_t r) { return at.peak[r]; });
  WriteRowRanks(job, rows, label);
  WriteRowEntropies(job, rows, reduced);
  WriteProbabilities(job, rows, reduced, work);
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t y = positions.label[r];
    if (y >= 0) at.picked_exponential[r] = ExponentialAt(job, reduced, r, y);
  }
  if (const auto head = HeadOf(job.run, positions)) {
    kernels::Active().apply_head(*head, at, rows.count);
  }
  AddLosses(job, rows, at, work, unit);
  if (!rows.gradient) return;
  ScaleRows(job, reduced, at.softmax_coefficient, nullptr, nullptr, rows.count,
            job.run.gradient_real(), rows.gradient, work);
  FinishGradient(job, rows, at, positions);
}

void Run(const BoxJob& job, const Cut&, const Stretch& stretch, Workspace& work, UnitSums& unit) {
  RowTile tile(job, stretch, work);
  const Rows rows = tile.Open();
  LoadLabelled(job.run, rows.first_position, rows.count, work.positions);
  const LabelledPositions at = Prepare(job, rows, work);
  if (IsOnePass(job.run.plan)) {
    RunOnePass(job, rows, at, work, unit);
  } else {
    RunInPhases(job, rows, at, work, unit);
  }
  tile.Close();
}

Cut CutRows(const LossPlan& plan, const Box& box, bool one_piece) {
  return one_piece ? CutIntoLongStretches(plan, box) : CutIntoTiles(plan, box);
}

int64_t ScratchBytes(const LossPlan& plan, bool one_piece) {
  const Cut cut = CutRows(plan, plan.whole(), one_piece);
  const int64_t exponentials =
      IsOnePass(plan) ? 2 * plan.classes() * 4
                      : StretchElements(plan, cut) * SizeOf(ComputeOf(RealOf(plan.dtype())));
  return RowTileBytes(plan, cut) + exponentials;
}

Compute ComputeType(const LossPlan& plan) { return ComputeOf(RealOf(plan.dtype())); }

}  // namespace

const Runner kSoftmaxRows = {CutRows, ScratchBytes, ComputeType, Run};

}  // namespace lossd
