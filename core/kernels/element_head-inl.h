// What the heads of element losses have in common. Compiled once per target.

#if defined(LOSSD_CORE_KERNELS_ELEMENT_HEAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_KERNELS_ELEMENT_HEAD_INL_H_
#undef LOSSD_CORE_KERNELS_ELEMENT_HEAD_INL_H_
#else
#define LOSSD_CORE_KERNELS_ELEMENT_HEAD_INL_H_
#endif

#include <string_view>

#include "core/kernels/kernels.h"
#include "core/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

// What a head is called with, each only if it takes it.
struct ElementArgs {
  Lanes x;
  Lanes t;
  Lanes second;
  Lanes extra[kMaxElementExtras];  // of further tensors, in the order of their roles
};

// What it says; `second` where there is a second gradient, `event` where it reports events.
struct ElementAnswer {
  Lanes loss;
  Lanes slope;
  Lanes second;
  Lanes event;  // a kernels::ElementEvent
};

// What a head takes and says, unless it says otherwise.
struct ElementHead {
  static constexpr bool kTargets = true;
  static constexpr bool kSecond = false;
  static constexpr int kExtras = 0;
  static constexpr bool kEvents = false;
};
HWY_INLINE Lanes Nothing() { return Same(0); }

HWY_INLINE Lanes Event(LaneMask happened, ElementEvent event) {
  return Select(happened, static_cast<double>(event), 0.0);
}

// Targets that are neither -1 nor 1.
HWY_INLINE Lanes RefuseUnlessSigned(Lanes y) {
  return Event(hn::Not(Abs(y) == 1.0), ElementEvent::kBadTarget);
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
