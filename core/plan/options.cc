#include "core/plan/options.h"

#include <string>
#include <string_view>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

absl::Status CheckRange(const Field& field, double value, const Range& range) {
  if (range.Has(value)) return absl::OkStatus();
  return Refuse(field, NumberString(value), range.wanted);
}

absl::Status CheckLoss(const Loss& any) {
  return std::visit(
      []<class L>(const L& loss) -> absl::Status {
        for (const Option<L>& option : LossRow<L>::kOptions) {
          const double value = loss.*option.member;
          if (option.range.Has(value)) continue;
          return Refuse({LossRow<L>::kName, option.name}, NumberString(value), option.range.wanted);
        }
        return absl::OkStatus();
      },
      any);
}

// Without class weights all weights are 1, whatever the normalisation.
absl::Status CheckWeightNormalization(const LossSpec& spec) {
  if (!spec.weight_normalization) return absl::OkStatus();
  return CheckEnum("weight_normalization", static_cast<int>(*spec.weight_normalization), 3,
                   "LOCAL, GLOBAL or NONE");
}

// The field of the targets.
std::string_view TargetsName(TargetKind kind) {
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    if (row.target_kind == kind) return row.name;
  }
  return "targets";
}

absl::Status CheckIgnoreLabels(const LossSpec& spec, TargetKind target_kind) {
  const size_t count = spec.ignore_labels.size();
  if (count > kMaxIgnoreLabels) {
    return absl::InvalidArgumentError(
        absl::StrCat("ignore_labels has ", count, " values; wanted at most ", kMaxIgnoreLabels));
  }
  if (count > 0 && target_kind != TargetKind::kClassIndices) {
    return absl::InvalidArgumentError(absl::StrCat("ignore_labels has ", count,
                                                   " values; wanted none with ",
                                                   std::string(TargetsName(target_kind))));
  }
  return absl::OkStatus();
}

absl::Status CheckLabelSmoothing(const LossSpec& spec, TargetKind target_kind) {
  LOSSD_RETURN_IF_ERROR(
      CheckRange("label_smoothing", spec.label_smoothing, Range::FromZeroToBelowOne()));
  if (spec.label_smoothing == 0 || target_kind != TargetKind::kTargetValues) {
    return absl::OkStatus();
  }
  return Refuse("label_smoothing", NumberString(spec.label_smoothing), "0 with target_values");
}

absl::Status CheckReduction(const LossSpec& spec, const Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(CheckEnum("reduction", static_cast<int>(spec.reduction), 7,
                                  "POSITIONS, VALID, WEIGHT_SUM, BATCH, SUM, GIVEN or NONE"));
  if (spec.reduction == Reduction::kBatch && !geometry.batch) {
    return Refuse("reduction", "BATCH",
                  absl::StrCat("another one: the class axis ", geometry.class_axis,
                               " is the batch dimension"));
  }
  constexpr Range kDenominators = Range::FiniteFromZero();
  const bool given = spec.reduction == Reduction::kGiven;
  if (!spec.denominator) {
    if (!given) return absl::OkStatus();
    return Refuse("denominator", "not set", "a finite number >= 0 with reduction GIVEN");
  }
  const std::string value = NumberString(*spec.denominator);
  if (!given) return Refuse("denominator", value, "none: the reduction is not GIVEN");
  if (kDenominators.Has(*spec.denominator)) return absl::OkStatus();
  return Refuse("denominator", value, kDenominators.wanted);
}

absl::Status CheckOutputs(const LossSpec& spec) {
  const Family family = FactsOf(spec.loss).family;
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    if (!(spec.outputs.*row.member) || row.IsOf(family)) continue;
    const std::string reason =
        row.family ? absl::StrCat("only the ", std::string(NameOf(*row.family)), " loss has it")
                   : "a loss over elements does not have it";
    return Refuse(std::string("outputs.").append(row.name), "true",
                  absl::StrCat("false: ", reason));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOptions(const LossSpec& spec, const LossTensorDescs& tensors,
                          const Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(CheckLoss(spec.loss));
  LOSSD_RETURN_IF_ERROR(CheckWeightNormalization(spec));
  LOSSD_RETURN_IF_ERROR(CheckIgnoreLabels(spec, tensors.target_kind));
  LOSSD_RETURN_IF_ERROR(CheckLabelSmoothing(spec, tensors.target_kind));
  LOSSD_RETURN_IF_ERROR(CheckRange("loss_weight", spec.loss_weight, Range::FiniteFromZero()));
  LOSSD_RETURN_IF_ERROR(CheckReduction(spec, geometry));
  LOSSD_RETURN_IF_ERROR(CheckRange("gradient_scale", spec.gradient_scale, Range::Finite()));
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
