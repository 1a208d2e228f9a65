#include "core/exec/runner.h"

#include "core/exec/softmax_options.h"
#include "lossd/losses.h"

namespace lossd {
namespace {

const Runner& OfSoftmax(const LossPlan& plan) {
  if (IsChanged(plan)) return kSoftmaxChanged;
  if (!plan.one_class()) return kSoftmaxDense;
  return plan.inner() > 1 ? kSoftmaxTiles : kSoftmaxRows;
}

}  // namespace

const Runner& RunnerOf(const LossPlan& plan) {
  // A family without a case is an error of the compiler's.
  switch (FactsOf(plan.spec().loss).family) {
    case Family::kSoftmax:
      return OfSoftmax(plan);
    case Family::kPick:
      return plan.one_class() ? kPicked : kPickRows;
    case Family::kRows:
      return kRowLosses;
    case Family::kSequences:
      return kCtc;
    case Family::kGroups:
      return kTversky;
    case Family::kElements:
      break;
  }
  return plan.in_one_box() ? kSequencePolicy : kElements;
}

}  // namespace lossd
