#include "core/plan/options.h"

#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/plan/checks.h"
#include "lossd/status_macros.h"

namespace lossd::plan {
namespace {

absl::Status CheckRange(const Field& field, double value, const Range& range) {
  if (range.Has(value)) return absl::OkStatus();
  return Refuse(field, NumberString(value), range.wanted);
}

// The words of an enum as an error lists them: "A, B or C".
template <class E>
std::string WordsText() {
  std::string text;
  constexpr auto& kNames = Words<E>::kNames;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    absl::StrAppend(&text,
                    i == 0                       ? ""
                    : i + 1 == std::size(kNames) ? " or "
                                                 : ", ",
                    std::string(kNames[i]));
  }
  return text;
}

absl::Status CheckList(const Field& field, const std::vector<double>& values, const Range& range) {
  for (const double value : values) LOSSD_RETURN_IF_ERROR(CheckRange(field, value, range));
  return absl::OkStatus();
}

template <class... M>
absl::Status CheckOneOf(const Field& field, const std::variant<std::monostate, M...>& value);

// `field` is that of the option.
template <class L, class T>
absl::Status CheckOption(const Field& field, const Option<L, T>& option, const T& value) {
  if constexpr (std::is_enum_v<T>) {
    const int last = static_cast<int>(std::size(Words<T>::kNames));
    const int number = static_cast<int>(value);
    if (number >= 1 && number <= last) return absl::OkStatus();
    return CheckEnum(field, number, last, WordsText<T>());
  } else if constexpr (kIsOptional<T>) {
    return value ? CheckRange(field, *value, option.range) : absl::OkStatus();
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    return CheckList(field, value, option.range);
  } else if constexpr (kIsOneOf<T>) {
    return CheckOneOf(field, value);
  } else if constexpr (!std::is_same_v<T, bool>) {
    return CheckRange(field, value, option.range);
  }
  return absl::OkStatus();
}

// The options of the message must be right; of several messages one must be given.
template <class... M>
absl::Status CheckOneOf(const Field& field, const std::variant<std::monostate, M...>& value) {
  absl::Status status;
  if (value.index() == 0 && sizeof...(M) > 1) {
    return Refuse(
        field, "not set",
        absl::StrCat("one of ", absl::StrJoin({std::string(LossRow<M>::kName)...}, ", ")));
  }
  std::visit(
      [&]<class L>(const L& message) {
        if constexpr (!std::is_same_v<L, std::monostate>) {
          const std::string outer =
              absl::StrCat(std::string(field.message), ".", std::string(LossRow<L>::kName));
          ForEachOption<L>([&](const auto& option) {
            if (!status.ok()) return;
            status = CheckOption(Field(outer, option.name), option, message.*option.member);
          });
        }
      },
      value);
  return status;
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

absl::Status CheckIgnoreLabels(const LossSpec& spec, const LossTensorDescs& tensors) {
  const size_t count = spec.ignore_labels.size();
  if (count == 0) return absl::OkStatus();
  const auto refuse = [count](std::string_view wanted, std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("ignore_labels has ", count, " values; wanted ",
                                                   std::string(wanted), std::string(what)));
  };
  if (count > kMaxIgnoreLabels) return refuse("at most ", absl::StrCat(kMaxIgnoreLabels));
  if (!FactsOf(spec.loss).ignores) return refuse("none with ", FactsOf(spec.loss).name);
  if (tensors.target_kind == TargetKind::kClassProbabilities) {
    return refuse("none with ", TargetsName(tensors.target_kind));
  }
  if (tensors.sparse_probabilities) return refuse("none with ", "sparse_probabilities");
  return absl::OkStatus();
}

absl::Status CheckLabelSmoothing(const LossSpec& spec) {
  const LossFacts& loss = FactsOf(spec.loss);
  LOSSD_RETURN_IF_ERROR(
      CheckRange("label_smoothing", spec.label_smoothing, Range::FromZeroToOne()));
  if (spec.label_smoothing == 0 || loss.smooths) return absl::OkStatus();
  return Refuse("label_smoothing", NumberString(spec.label_smoothing),
                std::string("0 with ").append(loss.name));
}

// What modulates a label's loss wants one label.
absl::Status CheckOneLabel(const LossSpec& spec, const LossTensorDescs& tensors) {
  const auto* const softmax = std::get_if<SoftmaxLoss>(&spec.loss);
  if (softmax == nullptr || (!softmax->focal_gamma && !softmax->has_margin())) {
    return absl::OkStatus();
  }
  const auto refuse = [&](std::string_view other) {
    const std::string wanted = std::string("none with ").append(other);
    if (softmax->has_margin()) return Refuse({"softmax", "margin"}, "given", wanted);
    return Refuse({"softmax", "focal_gamma"}, NumberString(*softmax->focal_gamma), wanted);
  };
  if (spec.label_smoothing != 0) return refuse("label_smoothing");
  if (tensors.target_kind != TargetKind::kClassIndices) {
    return refuse(TargetsName(tensors.target_kind));
  }
  if (tensors.sparse_probabilities) return refuse("sparse_probabilities");
  return absl::OkStatus();
}

absl::Status CheckQuantiles(const LossSpec& spec, const Geometry& geometry) {
  const auto* const loss = std::get_if<QuantileLoss>(&spec.loss);
  if (loss == nullptr || !loss->several()) return absl::OkStatus();
  const auto count = static_cast<int64_t>(loss->quantiles.size());
  if (count == geometry.classes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("quantile.quantiles has ", count, " values; wanted one, or ", geometry.classes,
                   ", one for each class along the class axis ", geometry.class_axis));
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

absl::Status CheckOutputs(const LossSpec& spec, const LossTensorDescs& tensors) {
  const LossFacts& loss = FactsOf(spec.loss);
  if (spec.outputs.label_log_probabilities && tensors.sparse_probabilities) {
    return absl::UnimplementedError(
        "outputs.label_log_probabilities is true; wanted false with sparse_probabilities");
  }
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    if (!(spec.outputs.*row.member) || HasOutput(loss, row.of)) continue;
    return Refuse(std::string("outputs.").append(row.name), "true",
                  std::string("false: ").append(ReasonOf(row.of)));
  }
  if (!spec.second_gradient_dtype || HasOutput(loss, OutputOf::kSecondGradient)) {
    return absl::OkStatus();
  }
  return Refuse("second_gradient_dtype", "given",
                std::string("none: ").append(ReasonOf(OutputOf::kSecondGradient)));
}

}  // namespace

absl::Status CheckOptionsOf(const Loss& any) {
  return std::visit(
      []<class L>(const L& loss) -> absl::Status {
        absl::Status status;
        ForEachOption<L>([&](const auto& option) {
          if (!status.ok()) return;
          status = CheckOption({LossRow<L>::kName, option.name}, option, loss.*option.member);
        });
        const auto check = [&](const Conflict<L>& conflict) {
          if (!status.ok() || !conflict.exists(loss)) return;
          status = Refuse({LossRow<L>::kName, conflict.option}, conflict.value, conflict.wanted);
        };
        std::apply([&](const auto&... conflict) { (check(conflict), ...); },
                   LossRow<L>::kConflicts);
        return status;
      },
      any);
}

absl::Status CheckOptions(const LossSpec& spec, const LossTensorDescs& tensors,
                          const Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(CheckOptionsOf(spec.loss));
  LOSSD_RETURN_IF_ERROR(CheckWeightNormalization(spec));
  LOSSD_RETURN_IF_ERROR(CheckIgnoreLabels(spec, tensors));
  LOSSD_RETURN_IF_ERROR(CheckLabelSmoothing(spec));
  LOSSD_RETURN_IF_ERROR(CheckOneLabel(spec, tensors));
  LOSSD_RETURN_IF_ERROR(CheckQuantiles(spec, geometry));
  LOSSD_RETURN_IF_ERROR(CheckRange("loss_weight", spec.loss_weight, Range::FiniteFromZero()));
  LOSSD_RETURN_IF_ERROR(CheckReduction(spec, geometry));
  LOSSD_RETURN_IF_ERROR(CheckRange("gradient_scale", spec.gradient_scale, Range::Finite()));
  if (spec.gradient_dtype) {
    LOSSD_RETURN_IF_ERROR(CheckFloating("gradient_dtype", *spec.gradient_dtype));
  }
  if (spec.second_gradient_dtype) {
    LOSSD_RETURN_IF_ERROR(CheckFloating("second_gradient_dtype", *spec.second_gradient_dtype));
  }
  LOSSD_RETURN_IF_ERROR(CheckEnum("all_ignored_policy", static_cast<int>(spec.all_ignored_policy),
                                  3, "ZERO, NAN or ERROR"));
  LOSSD_RETURN_IF_ERROR(CheckEnum("non_finite_policy", static_cast<int>(spec.non_finite_policy), 2,
                                  "PROPAGATE or ERROR"));
  return CheckOutputs(spec, tensors);
}

}  // namespace lossd::plan
