// The heads of element losses: their arithmetic, in the compute types alone (dtypes are widened and
// narrowed around them). Compiled once per target.
//
// A head is called with a group of predictions x and of targets t and says l, in double since
// losses are added exactly, and dl/dx. Its name is that of the loss.

#if defined(LOSSD_CORE_KERNELS_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_HEADS_INL_H_
#undef LOSSD_CORE_KERNELS_HEADS_INL_H_
#else
#define LOSSD_CORE_KERNELS_HEADS_INL_H_
#endif

#include <string_view>
#include <tuple>

#include "core/kernels/group-inl.h"
#include "core/kernels/reductions-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// l = (x - t)^2.
struct SquaredError {
  static constexpr std::string_view kName = "squared_error";

  HWY_INLINE explicit SquaredError(const double* /*options*/) {}

  template <class C>
  HWY_INLINE void operator()(const Group<C>& x, const Group<C>& t, Group<double>& loss,
                             Group<C>& slope) const {
    for (int j = 0; j < kRegisters<C>; ++j) {
      const auto difference = hn::Sub(x.v[j], t.v[j]);
      slope.v[j] = hn::Add(difference, difference);
    }
    // The square of a float may not be one.
    const Group<double> wide_x = Widen(x);
    const Group<double> wide_t = Widen(t);
    for (int j = 0; j < kRegisters<double>; ++j) {
      const auto difference = hn::Sub(wide_x.v[j], wide_t.v[j]);
      loss.v[j] = hn::Mul(difference, difference);
    }
  }
};

using ElementHeads = std::tuple<SquaredError>;
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
