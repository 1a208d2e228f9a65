#ifndef LOSSD_CORE_EXEC_BOX_JOB_H_
#define LOSSD_CORE_EXEC_BOX_JOB_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "core/exec/run_state.h"
#include "core/exec/scratch.h"
#include "lossd/loss_result.h"

namespace lossd {

// What one unit of work adds to the answer.
struct UnitSums {
  PartialSums sums;
  std::optional<int64_t> first_nonfinite;                      // position, unless it was ignored
  std::optional<std::pair<int64_t, double>> first_bad_target;  // its position and value
  std::optional<int64_t> first_infeasible;                     // a sequence, where it is an error

  void CountNonFinite(int64_t position) {
    ++sums.nonfinite_count;
    if (!first_nonfinite) first_nonfinite = position;
  }
  void RefuseSequence(int64_t position) {
    if (!first_infeasible) first_infeasible = position;
  }
  void RefuseTarget(int64_t position, double value) {
    if (!first_bad_target) first_bad_target = {position, value};
  }
};

// The memory one thread works in. Runner::scratch_bytes says what it may come to.
struct Workspace {
  Positions positions;
  Scratch gathered;  // predictions that lay in pieces or strided
  Scratch gathered_targets;
  Scratch gathered_second;
  Scratch logits;  // as options change them
  Scratch slopes;  // of a soft cap
  Scratch exact;   // one row of logits in double, and its exponentials
  Scratch exponentials;
  Scratch chunk_scales;
  Scratch factors;
  Scratch losses;        // one double per position, several arrays
  Scratch labelled;      // LabelledArrays
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

// More than any of the arrays over positions that a runner keeps together: Positions,
// LabelledArrays, losses and coefficients.
inline constexpr int64_t kBytesPerPosition = 256;
// The slack of all arrays (Scratch::Get).
inline constexpr int64_t kSlackBytes = int64_t{1} << 13;

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_BOX_JOB_H_
