// Element losses: KernelSet::elements, scale_elements.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/elements.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/group-inl.h"
#include "core/kernels/heads-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

template <class Head, class C>
void Elements(const void* x, const void* t, int64_t count, const double* options, double* loss,
              void* slope) {
  const Head head(options);
  for (int64_t i = 0; i < count; i += kGroup) {
    Group<double> losses;
    Group<C> slopes;
    head(LoadScratch(static_cast<const C*>(x) + i), LoadScratch(static_cast<const C*>(t) + i),
         losses, slopes);
    StoreScratch(losses, loss + i);
    StoreScratch(slopes, static_cast<C*>(slope) + i);
  }
}

template <class C, Real R>
void ScaleElements(const void* slope, const void* a, int64_t count, bool streaming, void* out) {
  StoreRow<R, C>(out, 0, count, streaming, [&](int64_t i) HWY_ATTR {
    Group<C> product = LoadScratch(static_cast<const C*>(slope) + i);
    const Group<C> factor = LoadScratch(static_cast<const C*>(a) + i);
    for (int j = 0; j < kRegisters<C>; ++j) {
      product.v[j] = Product<C>(product.v[j], factor.v[j]);
    }
    return product;
  });
  if (streaming) hwy::FlushStream();
}

// One row of bodies a head.
template <class... Heads>
const ElementBody (*Bodies(const std::tuple<Heads...>*))[kComputes] {
  static constexpr ElementBody kBodies[][kComputes] = {
      {Elements<Heads, float>, Elements<Heads, double>}...};
  return kBodies;
}

void FillElements(KernelSet& set) {
  set.element_heads = kElementHeads;
  set.elements = Bodies(static_cast<const ElementHeads*>(nullptr));
  set.scale_elements[0][0] = ScaleElements<float, Real::kF32>;
  set.scale_elements[0][1] = ScaleElements<float, Real::kF64>;
  set.scale_elements[0][2] = ScaleElements<float, Real::kF16>;
  set.scale_elements[0][3] = ScaleElements<float, Real::kBF16>;
  set.scale_elements[1][0] = ScaleElements<double, Real::kF32>;
  set.scale_elements[1][1] = ScaleElements<double, Real::kF64>;
  set.scale_elements[1][2] = ScaleElements<double, Real::kF16>;
  set.scale_elements[1][3] = ScaleElements<double, Real::kBF16>;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillElements);
void AddElements(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillElements)(set); }
}  // namespace lossd::kernels
#endif
