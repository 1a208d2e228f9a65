#ifndef LOSSD_CLIENT_CALL_COMPUTE_JOB_H_
#define LOSSD_CLIENT_CALL_COMPUTE_JOB_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "client/call/block_plan.h"
#include "client/call/geometry.h"
#include "client/call/loans.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"

namespace lossd {

// What stays the same over all attempts to compute one loss.
struct ComputeJob {
  LossSpec spec;  // outputs filled in
  LossInputs inputs;
  LossOutputs into;
  std::optional<Geometry> geometry;  // nullopt: the server is left to say what is wrong
  int64_t block_bytes = 0;
  std::function<void(int64_t done, int64_t total)> progress;  // may be empty
  Loans loans;
};

// Records which of the blocks begin..end-1 were answered, and their sums. The other blocks belong
// to other streams and count as answered.
class BlockLedger {
 public:
  BlockLedger(const BlockPlan& plan, int64_t begin, int64_t end)
      : plan_(plan), answered_(plan.count(), true), unanswered_(end - begin) {
    std::fill(answered_.begin() + begin, answered_.begin() + end, false);
  }
  explicit BlockLedger(const BlockPlan& plan) : BlockLedger(plan, 0, plan.count()) {}

  const BlockPlan& plan() const { return plan_; }
  int64_t unanswered() const { return unanswered_; }
  bool answered(int64_t index) const { return answered_[index]; }
  bool any_answered() const { return unanswered_ < plan_.count(); }
  std::vector<Box> Missing() const { return plan_.Missing(answered_); }
  int64_t answered_positions() const { return answered_positions_; }
  const PartialSums& sums() const { return sums_; }

  // The first unanswered block from `index` on; plan().count() if there is none.
  int64_t NextUnanswered(int64_t index) const {
    while (index < plan_.count() && answered_[index]) ++index;
    return index;
  }

  // Precondition: the block is unanswered.
  void Answer(int64_t index, const PartialSums& sums) {
    const Box box = plan_.At(index);
    answered_[index] = true;
    answered_positions_ += box.outer_count * box.inner_count;
    --unanswered_;
    sums_.Merge(sums);
  }

 private:
  BlockPlan plan_;
  std::vector<bool> answered_;
  int64_t unanswered_;
  int64_t answered_positions_ = 0;
  PartialSums sums_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_COMPUTE_JOB_H_
