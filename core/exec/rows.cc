#include "core/exec/rows.h"

#include <algorithm>
#include <cstring>

#include "core/exec/label_lists.h"

namespace lossd {

using kernels::Real;

Rows RowTile::OpenTargets() {
  const RunState& run = job_.run;
  rows_.count = count_;
  rows_.first_position = job_.PositionAt(o_, i_);
  rows_.first_output = o_ * job_.box.inner_count + i_;
  const TargetKind kind = run.plan.tensors().target_kind;
  if (!run.plan.dense_targets()) return rows_;
  const Real real = RealOf(run.plan.dense_dtype());
  if (run.plan.sparse_targets()) {
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
  TakeOutputs();
  return rows_;
}

// Calls visit(memory of the rows, format, memory of the box) for each output of rows.
template <class Visit>
void RowTile::ForEachOutput(Visit visit) {
  const RunState& run = job_.run;
  const OutputSet& wanted = run.plan.outputs();
  if (wanted.gradient) visit(rows_.gradient, run.gradient_real(), job_.out.gradient);
  if (wanted.probabilities) visit(rows_.probabilities, run.real(), job_.out.probabilities);
  if (wanted.second_gradient) {
    const Real real = RealOf(run.plan.output_dtypes().second_gradient);
    visit(rows_.second_gradient, real, job_.out.second_gradient);
  }
}

void RowTile::TakeOutputs() {
  if (!strided()) {
    ForEachOutput([this](std::byte*& rows, Real real, MutableByteSpan out) {
      rows = out.data() + o_ * job_.classes() * kernels::SizeOf(real);
    });
    return;
  }
  int64_t bytes = 0;
  ForEachOutput([&](std::byte*&, Real real, MutableByteSpan) { bytes += Bytes(real); });
  auto* at = work_.outputs.Get<std::byte>(bytes);
  ForEachOutput([&](std::byte*& rows, Real real, MutableByteSpan) {
    rows = at;
    at += Bytes(real);
  });
}

void RowTile::Close() {
  if (!strided()) return;
  ForEachOutput([this](const std::byte* rows, Real real, MutableByteSpan out) {
    Spread(rows, real, out.data());
  });
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
  if (plan.dense_targets()) bytes += elements * SizeOf(plan.dense_dtype()) * turned;
  if (tensors.second_predictions) {
    bytes += elements * SizeOf(tensors.second_predictions->dtype) * turned;
  }
  if (!cut.rows && plan.outputs().gradient) bytes += elements * SizeOf(plan.gradient_dtype());
  if (!cut.rows && plan.outputs().probabilities) bytes += elements * SizeOf(plan.dtype());
  if (!cut.rows && plan.outputs().second_gradient) {
    bytes += elements * SizeOf(plan.output_dtypes().second_gradient);
  }
  const int64_t chunks = kernels::Chunks(ComputeOf(RealOf(plan.dtype())), plan.classes());
  constexpr int64_t kBytesPerChunk = 2 * 8;  // its scale and factor
  return bytes + rows * (chunks * kBytesPerChunk + kBytesPerPosition) + kSlackBytes;
}

}  // namespace lossd
