// Losses of whole rows: KernelSet::row_heads.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/row_heads.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/row_heads-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

template <class Head>
double RowLoss(const RowArrays& row) {
  return Head(row)();
}

template <class... Heads>
const RowBody* BodiesOf(const std::tuple<Heads...>*) {
  static constexpr RowBody kBodies[] = {RowLoss<Heads>...};
  return kBodies;
}

void FillRowHeads(KernelSet& set) {
  set.row_heads = BodiesOf(static_cast<const RowHeads*>(nullptr));
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillRowHeads);
void AddRowHeads(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillRowHeads)(set); }
}  // namespace lossd::kernels
#endif
