#include "core/plan/options.h"

#include <cmath>
#include <string>
#include <string_view>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

// The comparisons are written so that a NaN fails them.

absl::Status CheckUnitInterval(std::string_view field, double value) {
  if (value >= 0 && value < 1) return absl::OkStatus();
  return Refuse(field, NumberString(value), "a number in [0, 1)");
}

absl::Status CheckLoss(const Loss& loss) {
  if (const auto* softmax = std::get_if<SoftmaxLoss>(&loss)) {
    return CheckUnitInterval("softmax.log_floor", softmax->log_floor);
  }
  if (const auto* multinomial = std::get_if<MultinomialLogisticLoss>(&loss)) {
    return CheckUnitInterval("multinomial_logistic.log_epsilon", multinomial->log_epsilon);
  }
  return absl::OkStatus();
}

absl::Status CheckWeightNormalization(const LossSpec& spec, const LossTensorDescs& tensors) {
  if (!spec.weight_normalization) return absl::OkStatus();
  LOSSD_RETURN_IF_ERROR(CheckEnum("weight_normalization",
                                  static_cast<int>(*spec.weight_normalization), 3,
                                  "LOCAL, GLOBAL or NONE"));
  if (tensors.class_weights) return absl::OkStatus();
  return Refuse("weight_normalization", "set", "unset: there are no class_weights");
}

absl::Status CheckIgnoreLabels(const LossSpec& spec, TargetKind target_kind) {
  const size_t count = spec.ignore_labels.size();
  if (count > kMaxIgnoreLabels) {
    return absl::InvalidArgumentError(
        absl::StrCat("ignore_labels has ", count, " values; wanted at most ", kMaxIgnoreLabels));
  }
  if (count > 0 && target_kind != TargetKind::kClassIndices) {
    return absl::InvalidArgumentError(
        absl::StrCat("ignore_labels has ", count, " values; wanted none with class_probabilities"));
  }
  return absl::OkStatus();
}

absl::Status CheckReduction(const LossSpec& spec, const Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(CheckEnum("reduction", static_cast<int>(spec.reduction), 7,
                                  "POSITIONS, VALID, WEIGHT_SUM, BATCH, SUM, GIVEN or NONE"));
  if (spec.reduction == Reduction::kBatch && !geometry.batch) {
    return Refuse("reduction", "BATCH",
                  absl::StrCat("another one: the class axis ", geometry.class_axis,
                               " is the batch dimension"));
  }
  const bool given = spec.reduction == Reduction::kGiven;
  if (!spec.denominator) {
    if (!given) return absl::OkStatus();
    return Refuse("denominator", "not set", "a finite number >= 0 with reduction GIVEN");
  }
  const std::string value = NumberString(*spec.denominator);
  if (!given) return Refuse("denominator", value, "none: the reduction is not GIVEN");
  if (*spec.denominator >= 0 && std::isfinite(*spec.denominator)) return absl::OkStatus();
  return Refuse("denominator", value, "a finite number >= 0");
}

absl::Status CheckOutputs(const LossSpec& spec) {
  if (std::holds_alternative<SoftmaxLoss>(spec.loss)) return absl::OkStatus();
  const std::string_view wanted = "false: only the softmax loss has it";
  if (spec.outputs.log_sum_exp) return Refuse("outputs.log_sum_exp", "true", wanted);
  if (spec.outputs.probabilities) return Refuse("outputs.probabilities", "true", wanted);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOptions(const LossSpec& spec, const LossTensorDescs& tensors,
                          const Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(CheckLoss(spec.loss));
  LOSSD_RETURN_IF_ERROR(CheckWeightNormalization(spec, tensors));
  LOSSD_RETURN_IF_ERROR(CheckIgnoreLabels(spec, tensors.target_kind));
  LOSSD_RETURN_IF_ERROR(CheckUnitInterval("label_smoothing", spec.label_smoothing));
  if (!(spec.loss_weight >= 0 && std::isfinite(spec.loss_weight))) {
    return Refuse("loss_weight", NumberString(spec.loss_weight), "a finite number >= 0");
  }
  LOSSD_RETURN_IF_ERROR(CheckReduction(spec, geometry));
  if (!std::isfinite(spec.gradient_scale)) {
    return Refuse("gradient_scale", NumberString(spec.gradient_scale), "a finite number");
  }
  if (spec.gradient_dtype) {
    LOSSD_RETURN_IF_ERROR(CheckFloating("gradient_dtype", *spec.gradient_dtype));
  }
  LOSSD_RETURN_IF_ERROR(CheckEnum("all_ignored_policy", static_cast<int>(spec.all_ignored_policy),
                                  3, "ZERO, NAN or ERROR"));
  LOSSD_RETURN_IF_ERROR(CheckEnum("non_finite_policy", static_cast<int>(spec.non_finite_policy), 2,
                                  "PROPAGATE or ERROR"));
  return CheckOutputs(spec);
}

}  // namespace lossd::plan
