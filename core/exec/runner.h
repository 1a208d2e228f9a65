#ifndef LOSSD_CORE_EXEC_RUNNER_H_
#define LOSSD_CORE_EXEC_RUNNER_H_

#include <cstdint>

#include "core/exec/box_job.h"
#include "core/exec/cut.h"
#include "core/plan/loss_plan.h"

// The ways to compute a box, one file each; the top of the file says how it works.
//
//   softmax_rows.cc   softmax, one label a row, rows contiguous
//   softmax_tiles.cc  softmax, one label a position, lanes across positions (inner extent > 1)
//   softmax_dense.cc  softmax, probabilities or smoothed labels
//   softmax_changed.cc  softmax with options that change the logits, or look at whole rows
//   picked.cc         losses of Family::kPick, one label a position
//   pick_rows.cc      losses of Family::kPick, probabilities or smoothed labels
//   elements.cc       losses of Family::kElements
//   row_losses.cc     losses of Family::kRows
//   ctc.cc            losses of Family::kSequences
//   sequence_policy.cc  policy, the ratio that of a sequence of tokens
//   tversky.cc        losses of Family::kGroups

namespace lossd {

// What is computed at once. Of sequences: sequence o. Of elements: o .. o + count - 1 of the packed
// box. Else positions: rows o .. o + count - 1 if the inner extent is 1 (then i is 0), else
// positions i .. i + count - 1 of outer index o. Both are indices within the box.
struct Stretch {
  int64_t o;
  int64_t i;
  int64_t count;
};

struct Runner {
  Cut (*cut)(const LossPlan& plan, const Box& box, bool one_piece);
  // What a thread takes of a Workspace to compute any stretch of the plan, at most. `one_piece`:
  // whether the predictions of a box lie in one piece.
  int64_t (*scratch_bytes)(const LossPlan& plan, bool one_piece);
  // What is computed in, coefficients of dense targets included.
  kernels::Compute (*compute)(const LossPlan& plan);
  void (*run)(const BoxJob& job, const Cut& cut, const Stretch& stretch, Workspace& work,
              UnitSums& unit);
  // Set where a box is more than its stretches: computes all of it.
  absl::Status (*whole)(const BoxJob& job, Executor& executor, StopToken stop,
                        UnitSums& unit) = nullptr;
};

extern const Runner kSoftmaxRows;
extern const Runner kSoftmaxTiles;
extern const Runner kSoftmaxDense;
extern const Runner kSoftmaxChanged;
extern const Runner kPicked;
extern const Runner kPickRows;
extern const Runner kElements;
extern const Runner kRowLosses;
extern const Runner kCtc;
extern const Runner kSequencePolicy;
extern const Runner kTversky;

const Runner& RunnerOf(const LossPlan& plan);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_RUNNER_H_
