#include "core/exec/softmax_options.h"

#include <variant>

namespace lossd {
namespace {

// A cap that no number comes near is none: beyond, its inverse would be a denormal number.
bool IsFelt(double soft_cap, kernels::Compute compute) {
  return soft_cap < (compute == kernels::Compute::kFloat ? 1e36 : 1e300);
}

}  // namespace

SoftmaxOptions SoftmaxOptionsOf(const Loss& loss) {
  return std::visit(
      []<class L>(const L& of) {
        SoftmaxOptions options;
        if constexpr (requires { of.log_floor; }) options.log_floor = of.log_floor;
        if constexpr (requires { of.lse_square_scale; }) {
          options.lse_square_scale = of.lse_square_scale;
        }
        if constexpr (requires { of.focal_gamma; }) options.focal_gamma = of.focal_gamma;
        if constexpr (requires { of.soft_cap; }) options.soft_cap = of.soft_cap;
        if constexpr (requires { of.temperature; }) options.temperature = of.temperature;
        if constexpr (requires { of.entropy_bonus; }) options.entropy_bonus = of.entropy_bonus;
        return options;
      },
      loss);
}

bool IsChanged(const LossPlan& plan) {
  const SoftmaxOptions options = SoftmaxOptionsOf(plan.spec().loss);
  return options.change_logits() || options.entropy_bonus > 0;
}

void SetSoftmaxOptions(RunState& run) {
  if (FactsOf(run.plan.spec().loss).family != Family::kSoftmax) return;
  const SoftmaxOptions options = SoftmaxOptionsOf(run.plan.spec().loss);
  if (options.log_floor > 0) {
    kernels::Active().log(&options.log_floor, 1, &run.loss_cap);
    run.loss_cap = -run.loss_cap;
  }
  run.lse_square_scale = options.lse_square_scale;
  run.entropy_bonus = options.entropy_bonus;
  run.logit_change.scale = 1 / options.temperature;
  if (options.soft_cap && IsFelt(*options.soft_cap, run.compute())) {
    run.logit_change.soft_cap = *options.soft_cap;
  }
  if (const auto* const policy = std::get_if<PolicyLoss>(&run.plan.spec().loss)) {
    run.softmax_head = kernels::Active().policy_head;
    ForEachOption<PolicyLoss>([&](const auto& option) {
      OptionNumbers(policy->*option.member,
                    [&run](double number) { run.softmax_head_options.push_back(number); });
    });
    return;
  }
  const bool has_head = options.lse_square_scale > 0 || options.focal_gamma;
  if (!run.plan.one_class() || !(has_head || IsChanged(run.plan))) return;
  run.softmax_head = kernels::Active().label_head;
  run.softmax_head_options.resize(kernels::kLabelHeadOptions);
  run.softmax_head_options[kernels::kLossCap] = run.loss_cap;
  run.softmax_head_options[kernels::kFocalGamma] = options.focal_gamma.value_or(-1);
  run.softmax_head_options[kernels::kLseSquareScale] = options.lse_square_scale;
  run.softmax_head_is_weighted = options.lse_square_scale == 0 && options.entropy_bonus == 0;
}

}  // namespace lossd
