#ifndef LOSSD_CORE_EXEC_LOSS_RUN_H_
#define LOSSD_CORE_EXEC_LOSS_RUN_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "core/plan/loss_plan.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"
#include "lossd/tensor.h"

namespace lossd {

// Changes whenever any result may change by a bit.
inline constexpr int kNumericsVersion = 6;

// The bytes of the tensors that are known whole before the first block. Each is exactly as large as
// the plan says (LossPlan's descriptions); none is copied, and all must outlive the LossRun.
// The targets are empty where they travel in the blocks.
using SideBytes = SideTensors<ByteSpan>;

// Predictions (and class probabilities, where targets do not come whole) of one box, packed as
// [outer_count][C][inner_count].
using BoxInputs = BlockTensors<ScatteredBytes>;

// One loss computation whose labels and weights have been checked and whose denominator is known.
// Immutable: boxes may be computed at the same time from several threads.
class LossRun {
 public:
  // Checks every label and weight, normalises class weights, counts, and finds D. Takes time and
  // memory in proportion to the bytes in `side`, whatever the plan's shape. kInvalidArgument names
  // the first bad position and its value. `stop` ends it early with kCancelled.
  static absl::StatusOr<LossRun> Prepare(LossPlan plan, const SideBytes& side, Executor& executor,
                                         StopToken stop = {});
  LossRun(LossRun&&) noexcept;
  LossRun& operator=(LossRun&&) noexcept;
  ~LossRun();

  const LossPlan& plan() const;

  // D; 0 where the all-ignored policy decides.
  double denominator() const;

  // Computes the outputs and the sums of one box. Every span of `out` is exactly as large as
  // plan().BytesOf(box) says (empty where not wanted); out.gradient may be the contiguous memory of
  // in.predictions. The bits of the outputs depend on the position alone: not on the box, the
  // pieces of the inputs, or the threads.
  // Errors: kInvalidArgument under NonFinitePolicy::kError (outputs are then undefined),
  // kCancelled.
  absl::StatusOr<PartialSums> RunBox(const Box& box, const BoxInputs& in, const LossOutputs& out,
                                     Executor& executor, StopToken stop = {}) const;

  // Rounds merged sums into the answer.
  LossResult Finish(const PartialSums& sums) const;

 private:
  struct Impl;
  explicit LossRun(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The whole computation on contiguous tensors in this process: plan, prepare, one box, finish. Also
// checks that every view and output has the size its description says (kInvalidArgument).
absl::StatusOr<LossResult> ComputeLoss(const LossSpec& spec, const LossInputs& inputs,
                                       const LossOutputs& into, Executor& executor,
                                       StopToken stop = {});

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_LOSS_RUN_H_
