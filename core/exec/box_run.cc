#include "core/exec/box_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "core/exec/box_job.h"
#include "core/exec/cut.h"
#include "core/exec/dense_targets.h"
#include "lossd/status_macros.h"

namespace lossd {

namespace {

// What some positions add to the sums, at most kMaxExactTerms of them.
struct Terms {
  double loss[kernels::kMaxExactTerms];
  int64_t ignored = 0;
  int64_t ones = 0;  // weights of 1, added as what they are together
};

// Positions without any weights.
void PlainTerms(const Positions& positions, int64_t begin, int64_t end, double loss_weight,
                const double* loss, Terms& terms) {
  terms.ignored = kernels::Active().counted_terms(positions.label.data() + begin, loss + begin,
                                                  loss_weight, end - begin, terms.loss);
  terms.ones = end - begin - terms.ignored;
  // What weighs nothing adds nothing, be it infinite or NaN.
  if (loss_weight == 0) std::fill_n(terms.loss, end - begin, 0.0);
}

void AddLosses(const Terms& terms, int64_t count, ExactSum& sum) {
  double parts[2];
  if (kernels::Active().exact_parts(terms.loss, count, parts)) {
    sum.Add(parts[0]);
    sum.Add(parts[1]);
  } else {
    sum.AddAll({terms.loss, static_cast<size_t>(count)});
  }
}

void WeightedTerms(const BoxJob& job, const Positions& positions, int64_t begin, int64_t end,
                   const double* loss, const double* weight, ExactSum& weight_sum, Terms& terms) {
  const double loss_weight = job.run.plan.spec().loss_weight;
  for (int64_t p = begin; p < end; ++p) {
    double& term = terms.loss[p - begin];
    term = 0;
    if (positions.label[p] < 0) {
      ++terms.ignored;
      continue;
    }
    const double weighs = positions.q[p] * weight[p];
    if (weighs == 1) {
      ++terms.ones;
    } else {
      weight_sum.Add(weighs);
    }
    const double scale = loss_weight * positions.q[p];
    // What weighs nothing adds nothing, be it infinite or NaN.
    const bool weightless = scale == 0 || (job.run.one_class() && weight[p] == 0);
    if (!weightless) term = scale * loss[p];
  }
}

}  // namespace

void AddPositions(const BoxJob& job, const Positions& positions, int64_t output, const double* loss,
                  const double* weight, UnitSums& unit) {
  const int64_t count = positions.count;
  const bool plain = job.run.one_class() && !job.run.class_weights.given() &&
                     !job.run.plan.tensors().position_weights;
  PartialSums& sums = unit.sums;
  for (int64_t begin = 0; begin < count; begin += kernels::kMaxExactTerms) {
    const int64_t end = std::min(count, begin + kernels::kMaxExactTerms);
    Terms terms;
    if (plain) {
      PlainTerms(positions, begin, end, job.run.plan.spec().loss_weight, loss, terms);
    } else {
      WeightedTerms(job, positions, begin, end, loss, weight, sums.weight_sum, terms);
    }
    AddLosses(terms, end - begin, sums.loss_sum);
    sums.weight_sum.Add(static_cast<double>(terms.ones));
    sums.position_count += end - begin;
    sums.ignored_count += terms.ignored;
    sums.valid_count += end - begin - terms.ignored;
    if (!job.run.plan.outputs().position_losses) continue;
    for (int64_t i = 0; i < end - begin; ++i) terms.loss[i] += 0.0;  // no -0
    std::memcpy(job.out.position_losses.data() + (output + begin) * int64_t{sizeof(double)},
                terms.loss, (end - begin) * sizeof(double));
  }
}

void AddLabelledLosses(const BoxJob& job, const Positions& positions, int64_t output, double* loss,
                       UnitSums& unit) {
  const int64_t count = positions.count;
  const double cap = job.run.loss_cap;
  for (int64_t p = 0; std::isfinite(cap) && p < count; ++p) {
    if (positions.label[p] < 0 || !(loss[p] > cap)) continue;
    ++unit.sums.clamped_count;
    loss[p] = cap;
  }
  for (int64_t p = 0; job.run.class_weights.given() && p < count; ++p) {
    loss[p] = positions.weight[p] * loss[p];
  }
  AddPositions(job, positions, output, loss, positions.weight.data(), unit);
}

namespace {

using kernels::Real;

// Smaller outputs are likely still in a cache when somebody reads them; in place, each line is in
// one when it is written.
bool IsStreaming(const BoxInputs& in, const LossOutputs& out) {
  constexpr size_t kStreamedBytes = size_t{16} << 20;
  const bool in_place = !in.predictions.pieces().empty() &&
                        in.predictions.pieces().front().data() == out.gradient.data();
  return out.gradient.size() >= kStreamedBytes && !in_place;
}

// A tile of positions as contiguous rows: where they lie already, gathered, or turned around.
class RowTile {
 public:
  // `count` positions from (o, i) of the box: rows if the inner extent is 1 (then i is 0), else
  // lanes.
  RowTile(const BoxJob& job, int64_t o, int64_t i, int64_t count, Workspace& work)
      : job_(job), o_(o), i_(i), count_(count), work_(work) {}

  // Only the targets' part of it.
  Rows OpenTargets() {
    const RunState& run = job_.run;
    rows_.count = count_;
    rows_.first_position = job_.PositionAt(o_, i_);
    rows_.first_output = o_ * job_.box.inner_count + i_;
    if (run.hard_targets()) return rows_;
    const Real real = RealOf(run.plan.tensors().targets.dtype);
    if (run.plan.targets_come_whole()) {
      const ScatteredBytes targets(run.side.targets);
      rows_.targets = Gather(targets, run.plan.whole(), real, work_.gathered_targets);
    } else {
      rows_.targets = Gather(job_.in.class_probabilities, job_.box, real, work_.gathered_targets);
    }
    return rows_;
  }

  Rows Open() {
    const RunState& run = job_.run;
    const Real real = run.real();
    OpenTargets();
    rows_.predictions = Gather(job_.in.predictions, job_.box, real, work_.gathered);
    const OutputSet& wanted = run.plan.outputs();
    const int64_t gradient_bytes = wanted.gradient ? Bytes(run.gradient_real()) : 0;
    const int64_t probability_bytes = wanted.probabilities ? Bytes(real) : 0;
    if (strided()) {
      auto* outputs = work_.outputs.Get<std::byte>(gradient_bytes + probability_bytes);
      if (wanted.gradient) rows_.gradient = outputs;
      if (wanted.probabilities) rows_.probabilities = outputs + gradient_bytes;
    } else {
      const int64_t first = o_ * job_.classes();
      if (wanted.gradient) {
        rows_.gradient = job_.out.gradient.data() + first * kernels::SizeOf(run.gradient_real());
      }
      if (wanted.probabilities) {
        rows_.probabilities = job_.out.probabilities.data() + first * kernels::SizeOf(real);
      }
    }
    return rows_;
  }

  // Brings outputs to their places.
  void Close() {
    if (!strided()) return;
    if (rows_.gradient) {
      Spread(rows_.gradient, job_.run.gradient_real(), job_.out.gradient.data());
    }
    if (rows_.probabilities) {
      Spread(rows_.probabilities, job_.run.real(), job_.out.probabilities.data());
    }
  }

 private:
  bool strided() const { return job_.run.plan.inner() > 1; }
  int64_t Bytes(Real real) const { return count_ * job_.classes() * kernels::SizeOf(real); }

  // Rows of this tile out of `source`, which holds the packed elements of `held`.
  const std::byte* Gather(const ScatteredBytes& source, const Box& held, Real real,
                          Scratch& scratch) {
    const int64_t size = kernels::SizeOf(real);
    const int64_t classes = job_.classes();
    const int64_t o = o_ + job_.box.outer_begin - held.outer_begin;
    const int64_t i = i_ + job_.box.inner_begin - held.inner_begin;
    if (!strided()) {
      if (const std::byte* rows = source.Contiguous(o * classes * size, Bytes(real))) return rows;
      auto* gathered = scratch.Get<std::byte>(Bytes(real));
      for (int64_t at = 0; kernels::GoesOn(at, Bytes(real), job_.stop);
           at += kernels::kPollElements) {
        const int64_t part = std::min(kernels::kPollElements, Bytes(real) - at);
        source.CopyTo(o * classes * size + at, part, gathered + at);
      }
      return gathered;
    }
    auto* gathered = scratch.Get<std::byte>(2 * Bytes(real));
    std::byte* line = gathered + Bytes(real);
    for (int64_t k = 0; job_.GoesOn(k); ++k) {
      source.CopyTo(((o * classes + k) * held.inner_count + i) * size, count_ * size, line);
      for (int64_t p = 0; p < count_; ++p) {
        std::memcpy(gathered + (p * classes + k) * size, line + p * size, size);
      }
    }
    return gathered;
  }

  void Spread(const std::byte* rows, Real real, std::byte* out) const {
    const int64_t size = kernels::SizeOf(real);
    for (int64_t k = 0; job_.GoesOn(k); ++k) {
      std::byte* line = out + job_.ElementAt(o_, k, i_) * size;
      for (int64_t p = 0; p < count_; ++p) {
        std::memcpy(line + p * size, rows + (p * job_.classes() + k) * size, size);
      }
    }
  }

  const BoxJob& job_;
  int64_t o_;
  int64_t i_;
  int64_t count_;
  Workspace& work_;
  Rows rows_;
};

void RunStretch(const BoxJob& job, const Cut& cut, int64_t plane, int64_t begin, int64_t count,
                Workspace& work, UnitSums& unit) {
  const RunState& run = job.run;
  const bool rows = cut.rows;
  if (run.one_class() && !run.softmax()) {
    return RunPicked(job, rows ? begin : plane, rows ? 0 : begin, count, work, unit);
  }
  if (IsTiled(run.plan)) return RunSoftmaxTiles(job, plane, begin, count, cut.tile, work, unit);
  RowTile tile(job, rows ? begin : plane, rows ? 0 : begin, count, work);
  const Rows opened = tile.Open();
  if (run.softmax()) {
    RunSoftmaxRows(job, opened, work, unit);
  } else {
    RunPointwiseRows(job, opened, work, unit);
  }
  tile.Close();
}

// Memory a thread keeps between units.
Workspace& ThreadWorkspace() {
  thread_local Workspace workspace;
  return workspace;
}

// Calls body(unit, plane, begin, count) for all stretches of all units.
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
        body(unit, plane, p, std::min(cut.stretch, end - p));
      }
    }
    ThreadWorkspace().Trim();
  });
}

}  // namespace

absl::StatusOr<PartialSums> RunBox(const RunState& run, const Box& box, const BoxInputs& in,
                                   const LossOutputs& out, Executor& executor, StopToken stop) {
  const BoxJob job{run, box, in, out, IsStreaming(in, out), stop.flag()};
  const Cut cut = CutBox(run.plan, box, in.predictions.pieces().size() == 1);
  absl::InlinedVector<UnitSums, 1> units(cut.units);
  LOSSD_RETURN_IF_ERROR(ForEachStretch(
      cut, executor, stop, [&](int64_t unit, int64_t plane, int64_t begin, int64_t count) {
        RunStretch(job, cut, plane, begin, count, ThreadWorkspace(), units[unit]);
      }));
  PartialSums sums;
  for (const UnitSums& unit : units) {
    sums.Merge(unit.sums);
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
  const Cut cut = CutBox(run.plan, box, /*one_piece=*/false);
  std::vector<ExactSum> units(cut.units);
  LOSSD_RETURN_IF_ERROR(ForEachStretch(
      cut, executor, stop, [&](int64_t unit, int64_t plane, int64_t begin, int64_t count) {
        Workspace& work = ThreadWorkspace();
        RowTile tile(job, cut.rows ? begin : plane, cut.rows ? 0 : begin, count, work);
        const Rows rows = tile.OpenTargets();
        work.positions.Load(run, rows.first_position, count);
        const CoefficientRows c = MakeCoefficients(run, rows, job.stop, work);
        for (int64_t r = 0; r < count; ++r) units[unit].Add(work.positions.q[r] * c.weight[r]);
      }));
  ExactSum sum;
  for (const ExactSum& unit : units) sum.Merge(unit);
  return sum;
}

}  // namespace lossd
