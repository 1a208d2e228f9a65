// What losses over sequences need: KernelSet::exp and log_add3.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/sequences.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/lanes-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

HWY_INLINE Lanes LoadLanes(const double* from, int64_t i) {
  return {hn::LoadU(Tag<double>(), from + i)};
}

void ExpAll(const double* x, int64_t count, double* out) {
  const Tag<double> d;
  for (int64_t i = 0; i < count; i += kLanes<double>) {
    hn::StoreU(Exp(LoadLanes(x, i)).v, d, out + i);
  }
}

void LogAdd3(const double* a, const double* b, const double* c, const double* skip, int64_t count,
             double* out) {
  const Tag<double> d;
  for (int64_t i = 0; i < count; i += kLanes<double>) {
    const Lanes x = LoadLanes(a, i);
    const Lanes y = LoadLanes(b, i);
    const Lanes z = LoadLanes(c, i) + LoadLanes(skip, i);
    const Lanes xy = Select(x < y, y, x);
    const Lanes top = Select(xy < z, z, xy);
    // Of nothing but -inf the sum is -inf, not the NaN of a difference.
    const LaneMask none = top == -kInfinity<double>;
    const Lanes base = Select(none, 0.0, top);
    const Lanes sum = Exp(x - base) + Exp(y - base) + Exp(z - base);
    hn::StoreU(Select(none, top, base + Log(sum)).v, d, out + i);
  }
}

void FillSequences(KernelSet& set) {
  set.exp = ExpAll;
  set.log_add3 = LogAdd3;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillSequences);
void AddSequences(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillSequences)(set); }
}  // namespace lossd::kernels
#endif
