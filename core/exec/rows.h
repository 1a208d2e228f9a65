#ifndef LOSSD_CORE_EXEC_ROWS_H_
#define LOSSD_CORE_EXEC_ROWS_H_

#include <algorithm>
#include <cstdint>

#include "core/exec/box_job.h"
#include "core/exec/runner.h"

namespace lossd {

// Contiguous rows of C classes for the row kernels.
struct Rows {
  const std::byte* predictions = nullptr;
  const std::byte* targets = nullptr;    // class probabilities or target values, or null
  const std::byte* second = nullptr;     // second predictions, or null
  std::byte* gradient = nullptr;         // null: not wanted; may be `predictions`
  std::byte* probabilities = nullptr;    // likewise
  std::byte* second_gradient = nullptr;  // likewise, of second predictions
  int64_t count = 0;
  int64_t first_position = 0;  // in the whole tensor; the rows are consecutive positions
  int64_t first_output = 0;    // index of the first row's per-position outputs in the box
};

// A stretch of positions as contiguous rows: where they lie already, gathered, or turned around.
class RowTile {
 public:
  RowTile(const BoxJob& job, const Stretch& stretch, Workspace& work)
      : job_(job), o_(stretch.o), i_(stretch.i), count_(stretch.count), work_(work) {}

  // Only the targets' part of it.
  Rows OpenTargets();
  Rows Open();
  // Brings outputs to their places.
  void Close();

 private:
  bool strided() const { return job_.run.plan.inner() > 1; }
  int64_t Bytes(kernels::Real real) const {
    return count_ * job_.classes() * kernels::SizeOf(real);
  }
  const std::byte* Gather(const ScatteredBytes& source, const Box& held, kernels::Real real,
                          Scratch& scratch);
  void Spread(const std::byte* rows, kernels::Real real, std::byte* out) const;
  template <class Visit>
  void ForEachOutput(Visit visit);
  void TakeOutputs();

  const BoxJob& job_;
  int64_t o_;
  int64_t i_;
  int64_t count_;
  Workspace& work_;
  Rows rows_;
};

// What RowTile takes for a stretch of the cut, and what belongs to its positions.
int64_t RowTileBytes(const LossPlan& plan, const Cut& cut);

// Elements of such a stretch.
inline int64_t StretchElements(const LossPlan& plan, const Cut& cut) {
  return std::min(cut.stretch, cut.positions) * plan.classes();
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_ROWS_H_
