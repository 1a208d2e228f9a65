#include "core/exec/runner.h"

#include <variant>

#include "lossd/losses.h"

namespace lossd {
namespace {

// There is no primary template: a family without runners does not compile.
template <Family kFamily>
struct RunnersOf;
template <>
struct RunnersOf<Family::kSoftmax> {
  static const Runner& Of(const LossPlan& plan) {
    if (!plan.one_class()) return kSoftmaxDense;
    return plan.inner() > 1 ? kSoftmaxTiles : kSoftmaxRows;
  }
};
template <>
struct RunnersOf<Family::kPick> {
  static const Runner& Of(const LossPlan& plan) { return plan.one_class() ? kPicked : kPickRows; }
};
template <>
struct RunnersOf<Family::kElements> {
  static const Runner& Of(const LossPlan&) { return kElements; }
};

}  // namespace

const Runner& RunnerOf(const LossPlan& plan) {
  return std::visit(
      [&]<class L>(const L&) -> const Runner& { return RunnersOf<LossRow<L>::kFamily>::Of(plan); },
      plan.spec().loss);
}

}  // namespace lossd
