#include "core/exec/box_run.h"

#include <algorithm>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "core/exec/dense_targets.h"
#include "core/exec/rows.h"
#include "core/exec/runner.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Smaller outputs are likely still in a cache when somebody reads them; in place, each line is in
// one when it is written.
bool IsStreaming(const BoxInputs& in, const LossOutputs& out) {
  constexpr size_t kStreamedBytes = size_t{16} << 20;
  const bool in_place = !in.predictions.pieces().empty() &&
                        in.predictions.pieces().front().data() == out.gradient.data();
  return out.gradient.size() >= kStreamedBytes && !in_place;
}

// Memory a thread keeps between units.
Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

// Calls body(unit, stretch) for all stretches of all units.
template <class Body>
absl::Status ForEachStretch(const Cut& cut, Executor& executor, StopToken stop, Body body) {
  return executor.ForEach(cut.units, stop, [&](int64_t unit) {
    const int64_t first_plane = unit / cut.units_per_plane * cut.unit_planes;
    const int64_t last_plane = std::min(cut.planes, first_plane + cut.unit_planes);
    const int64_t first = unit % cut.units_per_plane * cut.unit;
    const int64_t end = std::min(cut.positions, first + cut.unit);
    for (int64_t plane = first_plane; plane < last_plane; ++plane) {
      // A unit of costly short rows may take long.
      for (int64_t p = first; p < end && !stop.stop_requested(); p += cut.stretch) {
        const int64_t count = std::min(cut.stretch, end - p);
        body(unit, cut.rows ? Stretch{p, 0, count} : Stretch{plane, p, count});
      }
    }
    ThreadWorkspace().Trim();
  });
}

absl::Status BadTarget(const Loss& loss, const std::pair<int64_t, double>& target) {
  const bool zero_one = TargetsOf(loss) == TargetRange::kZeroOne;
  return absl::InvalidArgumentError(absl::StrCat("target_values[", target.first, "] is ",
                                                 target.second, "; wanted ",
                                                 zero_one ? "0 or 1" : "-1 or 1"));
}

}  // namespace

absl::StatusOr<PartialSums> RunBox(const RunState& run, const Box& box, const BoxInputs& in,
                                   const LossOutputs& out, Executor& executor, StopToken stop) {
  const BoxJob job{run, box, in, out, IsStreaming(in, out), stop.flag()};
  const Runner& runner = RunnerOf(run.plan);
  const Cut cut = runner.cut(run.plan, box, in.predictions.pieces().size() == 1);
  absl::InlinedVector<UnitSums, 1> units(runner.whole != nullptr ? 1 : cut.units);
  if (runner.whole != nullptr) {
    LOSSD_RETURN_IF_ERROR(runner.whole(job, executor, stop, units.front()));
  } else {
    LOSSD_RETURN_IF_ERROR(
        ForEachStretch(cut, executor, stop, [&](int64_t unit, const Stretch& stretch) {
          runner.run(job, cut, stretch, ThreadWorkspace(), units[unit]);
        }));
  }
  PartialSums sums;
  for (const UnitSums& unit : units) {
    sums.Merge(unit.sums);
    if (unit.first_bad_target) return BadTarget(run.plan.spec().loss, *unit.first_bad_target);
    if (unit.first_infeasible) {
      return absl::InvalidArgumentError(
          absl::StrCat("the frames of sequence ", *unit.first_infeasible,
                       " cannot spell its labels; ctc.infeasible_policy ERROR wants all that can"));
    }
    if (unit.first_nonfinite && run.plan.spec().non_finite_policy == NonFinitePolicy::kError) {
      return absl::InvalidArgumentError(
          absl::StrCat("predictions of position ", *unit.first_nonfinite,
                       " are not finite; non_finite_policy ERROR wants every row finite"));
    }
  }
  return sums;
}

absl::StatusOr<ExactSum> WeightOfTargets(const RunState& run, Executor& executor, StopToken stop) {
  const Box box = run.plan.whole();
  const BoxInputs in;
  const LossOutputs out;
  const BoxJob job{run, box, in, out, /*streaming=*/false, stop.flag()};
  const Runner& runner = RunnerOf(run.plan);
  const Cut cut = runner.cut(run.plan, box, /*one_piece=*/false);
  std::vector<ExactSum> units(cut.units);
  LOSSD_RETURN_IF_ERROR(
      ForEachStretch(cut, executor, stop, [&](int64_t unit, const Stretch& stretch) {
        Workspace& work = ThreadWorkspace();
        const Rows rows = RowTile(job, stretch, work).OpenTargets();
        work.positions.Load(run, rows.first_position, rows.count, WeightOf::kTargets);
        const CoefficientRows c =
            MakeCoefficients(run, rows, runner.compute(run.plan), job.stop, work);
        for (int64_t r = 0; r < rows.count; ++r) {
          units[unit].Add(work.positions.q[r] * c.weight[r]);
        }
      }));
  ExactSum sum;
  for (const ExactSum& unit : units) sum.Merge(unit);
  return sum;
}

}  // namespace lossd
