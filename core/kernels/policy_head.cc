// The head of a policy loss from logits: KernelSet::policy_head.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/policy_head.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.
#include "core/kernels/policy_heads-inl.h"
#include "core/kernels/tables.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::kernels {
namespace HWY_NAMESPACE {

void PolicyHead(const SoftmaxHead& head, const HeadInput& in, const HeadOutput& out) {
  const Tag<double> d;
  const TokenObjective objective(head.options);
  for (int64_t i = 0; i < in.count; i += kLanes<double>) {
    const int64_t p = in.first + i;
    const auto load = [&](const double* from, Lanes otherwise) HWY_ATTR {
      return from == nullptr ? otherwise : Lanes{hn::LoadU(d, from + p)};
    };
    const Lanes log_probability = -Lanes{hn::Load(d, in.minus_log_p + i)};
    const TokenLoss token =
        objective({log_probability, load(head.advantage, Nothing()),
                   load(head.old, log_probability), load(head.reference, Nothing())});
    hn::Store(token.loss.v, d, out.loss + i);
    hn::Store(token.slope.v, d, out.label_slope + i);
    hn::Store(hn::Zero(d), d, out.sum_slope + i);
  }
}

void FillPolicyHead(KernelSet& set) { set.policy_head = PolicyHead; }

}  // namespace HWY_NAMESPACE
}  // namespace lossd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::kernels {
HWY_EXPORT(FillPolicyHead);
void AddPolicyHead(KernelSet& set) { HWY_DYNAMIC_DISPATCH(FillPolicyHead)(set); }
}  // namespace lossd::kernels
#endif
