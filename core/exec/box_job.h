#ifndef LOSSD_CORE_EXEC_BOX_JOB_H_
#define LOSSD_CORE_EXEC_BOX_JOB_H_

#include <cstdint>
#include <limits>
#include <optional>

#include "core/exec/run_state.h"
#include "core/exec/scratch.h"
#include "lossd/loss_result.h"

namespace lossd {

// What one unit of work adds to the answer.
struct UnitSums {
  PartialSums sums;
  std::optional<int64_t> first_nonfinite;  // position, unless it was ignored

  void CountNonFinite(int64_t position) {
    ++sums.nonfinite_count;
    if (!first_nonfinite) first_nonfinite = position;
  }
};

// The memory one thread works in. WorkingBytes counts what it may come to.
struct Workspace {
  Positions positions;
  Scratch gathered;  // predictions that lay in pieces or strided
  Scratch gathered_targets;
  Scratch exponentials;
  Scratch chunk_scales;
  Scratch row_sums;
  Scratch factors;
  Scratch losses;        // one double per position, several arrays
  Scratch hard_rows;     // several doubles per position with a label
  Scratch no_labels;     // of a tile without any
  Scratch coefficients;  // c_k = w(k) t'_k of dense targets
  Scratch wide_row;      // one row of coefficients in double
  Scratch outputs;       // rows on their way to a strided place

  // Gives back what is large, unless all is at most kKeptScratchBytes together.
  void Trim();
};

// One box on its way through the kernels.
struct BoxJob {
  const RunState& run;
  Box box;
  const BoxInputs& in;
  const LossOutputs& out;
  bool streaming = false;  // outputs are too large to be found in a cache again
  kernels::Stop stop = nullptr;

  int64_t classes() const { return run.plan.classes(); }
  // Whether a loop over the classes that takes some lines of cache for each goes on at class k.
  bool GoesOn(int64_t k) const {
    constexpr int64_t kLines = 4 * kernels::kGroup;
    return kernels::GoesOn(k * kLines, classes() * kLines, stop);
  }
  // Positions of the whole tensor by outer index and inner index within the box.
  int64_t PositionAt(int64_t o, int64_t i) const {
    return (box.outer_begin + o) * run.plan.inner() + box.inner_begin + i;
  }
  // Element (o, k, i) of a packed box, by indices within the box.
  int64_t ElementAt(int64_t o, int64_t k, int64_t i) const {
    return (o * classes() + k) * box.inner_count + i;
  }
};

// Contiguous rows of C classes for the row kernels.
struct Rows {
  const std::byte* predictions = nullptr;
  const std::byte* targets = nullptr;  // class probabilities, or null
  std::byte* gradient = nullptr;       // null: not wanted; may be `predictions`
  std::byte* probabilities = nullptr;  // likewise
  int64_t count = 0;
  int64_t first_position = 0;  // in the whole tensor; the rows are consecutive positions
  int64_t first_output = 0;    // index of the first row's per-position outputs in the box
};

// Whether rows of softmax are computed in one pass.
bool CanFuse(const LossPlan& plan);

// Softmax of rows, hard or dense targets.
void RunSoftmaxRows(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit);
// Multinomial logistic and nll loss of rows with dense targets.
void RunPointwiseRows(const BoxJob& job, const Rows& rows, Workspace& work, UnitSums& unit);
// Softmax with hard targets, lanes across positions i .. i+count of outer index o within the box,
// in tiles of `width` positions.
void RunSoftmaxTiles(const BoxJob& job, int64_t o, int64_t i, int64_t count, int64_t width,
                     Workspace& work, UnitSums& unit);
// Multinomial logistic and nll loss with hard targets: looks at one class per position. With inner
// extent 1 the positions are rows o .. o+width and i is 0.
void RunPicked(const BoxJob& job, int64_t o, int64_t i, int64_t width, Workspace& work,
               UnitSums& unit);

// Adds the loaded positions' weights and counts, and their losses l (already weighted, before L and
// q) to the sums; writes their per-position losses, the first at `output`. `weight` as in
// LossResult::weight_sum without q. Neither is looked at where a position is ignored.
void AddPositions(const BoxJob& job, const Positions& positions, int64_t output, const double* loss,
                  const double* weight, UnitSums& unit);

// The same for softmax losses -log s_y, which are capped and weighted first.
void AddLabelledLosses(const BoxJob& job, const Positions& positions, int64_t output, double* loss,
                       UnitSums& unit);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_BOX_JOB_H_
