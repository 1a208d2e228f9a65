#include "core/exec/rows.h"

#include <algorithm>
#include <cstring>

#include "core/exec/sparse_targets.h"

namespace lossd {

using kernels::Real;

Rows RowTile::OpenTargets() {
  const RunState& run = job_.run;
  rows_.count = count_;
  rows_.first_position = job_.PositionAt(o_, i_);
  rows_.first_output = o_ * job_.box.inner_count + i_;
  const TargetKind kind = run.plan.tensors().target_kind;
  if (run.hard_targets() || kind == TargetKind::kNone) return rows_;
  const Real real = RealOf(run.plan.dense_dtype());
  if (run.plan.slots() > 0) {
    auto* const spread = work_.gathered_targets.Get<double>(count_ * job_.classes());
    SpreadSparseTargets(run, rows_.first_position, count_, job_.stop, spread);
    rows_.targets = reinterpret_cast<const std::byte*>(spread);
  } else if (run.plan.targets_come_whole()) {
    const ScatteredBytes targets(run.side.targets);
    rows_.targets = Gather(targets, run.plan.whole(), real, work_.gathered_targets);
  } else {
    const bool values = kind == TargetKind::kTargetValues;
    rows_.targets = Gather(values ? job_.in.target_values : job_.in.class_probabilities, job_.box,
                           real, work_.gathered_targets);
  }
  return rows_;
}

Rows RowTile::Open() {
  const RunState& run = job_.run;
  const Real real = run.real();
  OpenTargets();
  rows_.predictions = Gather(job_.in.predictions, job_.box, real, work_.gathered);
  if (const auto& second = run.plan.tensors().second_predictions) {
    rows_.second =
        Gather(job_.in.second_predictions, job_.box, RealOf(second->dtype), work_.gathered_second);
  }
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

void RowTile::Close() {
  if (!strided()) return;
  if (rows_.gradient) {
    Spread(rows_.gradient, job_.run.gradient_real(), job_.out.gradient.data());
  }
  if (rows_.probabilities) {
    Spread(rows_.probabilities, job_.run.real(), job_.out.probabilities.data());
  }
}

// Rows of this tile out of `source`, which holds the packed elements of `held`.
const std::byte* RowTile::Gather(const ScatteredBytes& source, const Box& held, Real real,
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

void RowTile::Spread(const std::byte* rows, Real real, std::byte* out) const {
  const int64_t size = kernels::SizeOf(real);
  for (int64_t k = 0; job_.GoesOn(k); ++k) {
    std::byte* line = out + job_.ElementAt(o_, k, i_) * size;
    for (int64_t p = 0; p < count_; ++p) {
      std::memcpy(line + p * size, rows + (p * job_.classes() + k) * size, size);
    }
  }
}

int64_t RowTileBytes(const LossPlan& plan, const Cut& cut) {
  const int64_t rows = std::min(cut.stretch, cut.positions);
  const int64_t elements = StretchElements(plan, cut);
  const int64_t turned = cut.rows ? 1 : 2;
  int64_t bytes = elements * SizeOf(plan.dtype()) * turned;
  const LossTensorDescs& tensors = plan.tensors();
  const bool dense = !plan.hard_targets() && tensors.target_kind != TargetKind::kNone;
  if (dense) bytes += elements * SizeOf(plan.dense_dtype()) * turned;
  if (tensors.second_predictions) {
    bytes += elements * SizeOf(tensors.second_predictions->dtype) * turned;
  }
  if (!cut.rows && plan.outputs().gradient) bytes += elements * SizeOf(plan.gradient_dtype());
  if (!cut.rows && plan.outputs().probabilities) bytes += elements * SizeOf(plan.dtype());
  const int64_t chunks = kernels::Chunks(ComputeOf(RealOf(plan.dtype())), plan.classes());
  constexpr int64_t kBytesPerChunk = 2 * 8;  // its scale and factor
  return bytes + rows * (chunks * kBytesPerChunk + kBytesPerPosition) + kSlackBytes;
}

}  // namespace lossd
