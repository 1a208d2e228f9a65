// Element losses: KernelSet::elements, scale_elements.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/elements.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/group-inl.h"
#include "core/kernels/heads-inl.h"
#include "core/kernels/reductions-inl.h"
#include "core/kernels/stores-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

template <class C>
HWY_INLINE Group<double> LoadWide(const void* from, int64_t i) {
  return Widen(LoadScratch(static_cast<const C*>(from) + i));
}

template <class C>
HWY_INLINE void StoreNarrow(Lanes value, int64_t i, void* to) {
  StoreRegister<kOwnFormat<C>, double>(value.v, At<kOwnFormat<C>>(to, i));
}

template <class Head, class C>
void Elements(const ElementArrays& at) {
  const Head head(at.options);
  constexpr bool kTargets = Head::kTargets;
  constexpr bool kSecond = Head::kSecond;
  for (int64_t i = 0; i < at.count; i += kGroup) {
    const Group<double> x = LoadWide<C>(at.x, i);
    const Group<double> t = kTargets ? LoadWide<C>(at.t, i) : x;
    const Group<double> second = kSecond ? LoadWide<C>(at.second, i) : x;
    for (int j = 0; j < kRegisters<double>; ++j) {
      const int64_t k = i + j * kLanes<double>;
      ElementArgs in = {{x.v[j]}, {t.v[j]}, {second.v[j]}, {Nothing(), Nothing(), Nothing()}};
      for (int e = 0; e < Head::kExtras; ++e) {
        in.extra[e].v = hn::LoadU(Tag<double>(), at.extras[e] + k);
      }
      const ElementAnswer out = head(in);
      hn::StoreU(out.loss.v, Tag<double>(), at.loss + k);
      StoreNarrow<C>(out.slope, k, at.slope);
      if constexpr (kSecond) StoreNarrow<C>(out.second, k, at.second_slope);
      if constexpr (Head::kEvents) hn::StoreU(out.event.v, Tag<double>(), at.event + k);
    }
  }
}

template <class C, Real R>
void ScaleElements(const void* slope, const void* a, int64_t count, bool streaming, void* out) {
  StoreRow<R, C>(out, 0, count, streaming, [&](int64_t i) HWY_ATTR {
    Group<C> product = LoadScratch(static_cast<const C*>(slope) + i);
    const Group<C> factor = LoadScratch(static_cast<const C*>(a) + i);
    for (int j = 0; j < kRegisters<C>; ++j) {
      product.v[j] = OneNaN<C>(Product<C>(product.v[j], factor.v[j]));
    }
    return product;
  });
  if (streaming) hwy::FlushStream();
}

template <class... Heads>
const ElementHeadFacts* FactsOf(const std::tuple<Heads...>*) {
  static_assert(((Heads::kExtras <= kMaxElementExtras) && ...));
  static constexpr ElementHeadFacts kFacts[] = {{{Elements<Heads, float>, Elements<Heads, double>},
                                                 Heads::kTargets,
                                                 Heads::kSecond,
                                                 Heads::kExtras,
                                                 Heads::kEvents}...};
  return kFacts;
}

void FillElements(KernelSet& set) {
  set.element_heads = kElementHeads;
  set.elements = FactsOf(static_cast<const ElementHeads*>(nullptr));
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
