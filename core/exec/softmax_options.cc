#include "core/exec/softmax_options.h"

#include <limits>
#include <variant>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// A cap that no number comes near is none: beyond, its inverse would be a denormal number.
bool IsFelt(double soft_cap, kernels::Compute compute) {
  return soft_cap < (compute == kernels::Compute::kFloat ? 1e36 : 1e300);
}

// Widened, as the kernels want it.
absl::Status SetClassBias(RunState& run) {
  const auto& desc = run.plan.tensors().class_bias;
  if (!desc) return absl::OkStatus();
  const kernels::Real real = RealOf(desc->dtype);
  run.class_bias.resize(run.plan.classes() + kernels::kGroup);
  for (int64_t k = 0; k < run.plan.classes(); ++k) {
    const double bias = LoadReal(real, run.side.class_bias.data(), k);
    run.class_bias[k] = bias;
    if (bias < std::numeric_limits<double>::infinity()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("class_bias[", k, "] is ", bias, "; wanted a finite number or -inf"));
  }
  run.logit_change.bias = run.class_bias.data();
  return absl::OkStatus();
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
        if constexpr (requires { of.margin.index(); }) options.margin = std::get_if<1>(&of.margin);
        return options;
      },
      loss);
}

bool IsChanged(const LossPlan& plan) {
  const SoftmaxOptions options = SoftmaxOptionsOf(plan.spec().loss);
  return options.change_logits() || options.entropy_bonus > 0 ||
         plan.tensors().class_bias.has_value();
}

absl::Status SetSoftmaxOptions(RunState& run) {
  if (FactsOf(run.plan.spec().loss).family != Family::kSoftmax) return absl::OkStatus();
  if (absl::Status status = SetClassBias(run); !status.ok()) return status;
  const SoftmaxOptions options = SoftmaxOptionsOf(run.plan.spec().loss);
  if (options.log_floor > 0) {
    kernels::Active().log(&options.log_floor, 1, &run.loss_cap);
    run.loss_cap = -run.loss_cap;
  }
  run.lse_square_scale = options.lse_square_scale;
  run.entropy_bonus = options.entropy_bonus;
  run.logit_change.scale = 1 / options.temperature;
  if (options.margin != nullptr) {
    run.margin.emplace(*options.margin);
    run.logit_change.scale = run.margin->scale();
  }
  if (options.soft_cap && IsFelt(*options.soft_cap, run.compute())) {
    run.logit_change.soft_cap = *options.soft_cap;
  }
  if (const auto* const policy = std::get_if<PolicyLoss>(&run.plan.spec().loss)) {
    run.softmax_head = kernels::Active().policy_head;
    ForEachOption<PolicyLoss>([&](const auto& option) {
      OptionNumbers(policy->*option.member,
                    [&run](double number) { run.softmax_head_options.push_back(number); });
    });
    return absl::OkStatus();
  }
  const bool has_head = options.lse_square_scale > 0 || options.focal_gamma;
  if (!run.plan.one_class() || !(has_head || IsChanged(run.plan))) return absl::OkStatus();
  run.softmax_head = kernels::Active().label_head;
  run.softmax_head_options.resize(kernels::kLabelHeadOptions);
  run.softmax_head_options[kernels::kLossCap] = run.loss_cap;
  run.softmax_head_options[kernels::kFocalGamma] = options.focal_gamma.value_or(-1);
  run.softmax_head_options[kernels::kLseSquareScale] = options.lse_square_scale;
  run.softmax_head_is_weighted = options.lse_square_scale == 0 && options.entropy_bonus == 0;
  return absl::OkStatus();
}

}  // namespace lossd
