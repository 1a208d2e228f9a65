// The heads of element losses: their arithmetic, in double alone (dtypes are widened and narrowed
// around them). Compiled once per target.
//
// A head is called with the lanes of a register and says l and its slopes. Its name is that of the
// loss; its options come in the order of the loss's row, with label_smoothing behind them.

#if defined(LOSSD_CORE_KERNELS_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_HEADS_INL_H_
#endif

#include <string_view>
#include <tuple>

#include "core/kernels/binary_heads-inl.h"
#include "core/kernels/policy_heads-inl.h"
#include "core/kernels/preference_heads-inl.h"
#include "core/kernels/regression_heads-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

using ElementHeads =
    std::tuple<BinaryCrossEntropy, SigmoidFocal, Hinge, SquaredError, AbsoluteError, SmoothL1,
               Huber, LogCosh, Quantile, PoissonNll, GaussianNll, GaussianKl, MarginRanking,
               PairwiseLogistic, Preference, Kto, Value, Policy>;
constexpr int kElementHeads = static_cast<int>(std::tuple_size_v<ElementHeads>);

// The index of a head in KernelSet::elements by the loss's name; kElementHeads if there is none.
constexpr int ElementHeadIndex(std::string_view name) {
  return []<class... Heads>(std::string_view wanted, const std::tuple<Heads...>*) {
    const std::string_view names[] = {Heads::kName...};
    int index = 0;
    while (index < kElementHeads && names[index] != wanted) ++index;
    return index;
  }(name, static_cast<const ElementHeads*>(nullptr));
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
