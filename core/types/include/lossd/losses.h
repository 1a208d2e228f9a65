#ifndef LOSSD_LOSSES_H_
#define LOSSD_LOSSES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "lossd/element_losses.h"
#include "lossd/group_losses.h"
#include "lossd/loss_rows.h"
#include "lossd/policy_loss.h"
#include "lossd/row_losses.h"
#include "lossd/sequence_losses.h"
#include "lossd/tensors.h"

// The catalogue of losses: of each a struct with its options, and a row. Formulas are in
// docs/semantics.md. A loss without a row does not compile; codec, checks, flags, metrics, bench
// and tests loop over the rows.

namespace lossd {

// What losses over classes take.
inline constexpr TensorRule kClassTensors[] = {
    {Role::kClassIndices, Presence::kOneOf},        {Role::kClassProbabilities, Presence::kOneOf},
    {Role::kClassWeights, Presence::kOptional},     {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional}, {Role::kPredictions, Presence::kRequired}};

// What softmax takes.
inline constexpr TensorRule kSoftmaxTensors[] = {{Role::kClassIndices, Presence::kOneOf},
                                                 {Role::kClassProbabilities, Presence::kOneOf},
                                                 {Role::kClassWeights, Presence::kOptional},
                                                 {Role::kPositionWeights, Presence::kOptional},
                                                 {Role::kUpstreamGradient, Presence::kOptional},
                                                 {Role::kPredictions, Presence::kRequired},
                                                 {Role::kClassBias, Presence::kOptional},
                                                 {Role::kSparseProbabilities, Presence::kOptional}};

// What the rows of losses over classes have in common.
struct OverClasses {
  static constexpr absl::Span<const TensorRule> kTensors = kClassTensors;
  static constexpr bool kIgnores = true;  // ignore_labels
  static constexpr bool kSmooths = true;  // label_smoothing
  static constexpr bool kSecondGradient = false;
  static constexpr std::tuple<> kNeeds = {};
  static constexpr std::tuple<> kTensorConflicts = {};
  static constexpr std::tuple<> kConflicts = {};
  static constexpr std::tuple<> kOptions = {};
};

// Predictions are cosines: ArcFace (angular), CosFace (additive).
struct SoftmaxMargin {
  double scale = 64;
  double angular = 0;
  double additive = 0;
  bool straight_through = false;
};
template <>
struct LossRow<SoftmaxMargin> {
  static constexpr int kNumber = 7;  // its field in lossd.v1.SoftmaxLoss
  static constexpr std::string_view kName = "margin";
  static constexpr std::tuple kOptions = {
      MakeOption(1, "scale", &SoftmaxMargin::scale, Range::Positive(), "multiplies the cosines"),
      MakeOption(2, "angular", &SoftmaxMargin::angular, Range::FromZeroToRightAngle(),
                 "is added to the label's angle, in radians"),
      MakeOption(3, "additive", &SoftmaxMargin::additive, Range::FromZeroToBelowTwo(),
                 "is subtracted from the label's cosine"),
      MakeOption(4, "straight_through", &SoftmaxMargin::straight_through,
                 "takes the derivative of the angular margin as 1")};
};

struct SoftmaxLoss {
  double log_floor = 0;
  double lse_square_scale = 0;
  std::optional<double> soft_cap = {};
  double temperature = 1;
  std::optional<double> focal_gamma = {};
  double entropy_bonus = 0;
  std::variant<std::monostate, SoftmaxMargin> margin = {};

  bool has_margin() const { return margin.index() != 0; }
};
template <>
struct LossRow<SoftmaxLoss> : OverClasses {
  static constexpr int kNumber = 1;  // its field in lossd.v1.LossSpec
  static constexpr std::string_view kName = "softmax";
  static constexpr Family kFamily = Family::kSoftmax;
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr absl::Span<const TensorRule> kTensors = kSoftmaxTensors;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "log_floor", &SoftmaxLoss::log_floor, Range::FromZeroToBelowOne(),
                 "clamps the probability in the loss value"),
      MakeOption(2, "lse_square_scale", &SoftmaxLoss::lse_square_scale, Range::FiniteFromZero(),
                 "adds this times the square of the log-sum-exp (z-loss)"),
      MakeOption(3, "soft_cap", &SoftmaxLoss::soft_cap, Range::Positive(),
                 "of logits: soft_cap * tanh(x / soft_cap)"),
      MakeOption(4, "temperature", &SoftmaxLoss::temperature, Range::Positive(),
                 "divides the logits"),
      MakeOption(5, "focal_gamma", &SoftmaxLoss::focal_gamma, Range::FiniteFromZero(),
                 "scales each loss by (1 - s_y)^focal_gamma"),
      MakeOption(6, "entropy_bonus", &SoftmaxLoss::entropy_bonus, Range::FiniteFromZero(),
                 "subtracts this times the entropy of softmax"),
      MakeOneOf("margin", &SoftmaxLoss::margin, "of the label's cosine")};
  static constexpr std::tuple kTensorConflicts = {TensorConflict<SoftmaxLoss>{
      Role::kClassBias, [](const SoftmaxLoss& l) { return l.has_margin(); }, "none with a margin"}};
  static constexpr std::tuple kConflicts = {
      Conflict<SoftmaxLoss>{
          "soft_cap", [](const SoftmaxLoss& l) { return l.has_margin() && l.soft_cap.has_value(); },
          "none with a margin"},
      Conflict<SoftmaxLoss>{
          "temperature", [](const SoftmaxLoss& l) { return l.has_margin() && l.temperature != 1; },
          "1 with a margin"},
      Conflict<SoftmaxLoss>{
          "focal_gamma",
          [](const SoftmaxLoss& l) { return l.has_margin() && l.focal_gamma.has_value(); },
          "none with a margin"}};
};

struct MultinomialLogisticLoss {
  double log_epsilon = 1e-20;
};
template <>
struct LossRow<MultinomialLogisticLoss> : OverClasses {
  static constexpr int kNumber = 2;
  static constexpr std::string_view kName = "multinomial_logistic";
  static constexpr Family kFamily = Family::kPick;
  static constexpr Domain kPredictions = Domain::kProbabilities;
  static constexpr std::tuple kOptions = {
      MakeOption(1, "log_epsilon", &MultinomialLogisticLoss::log_epsilon,
                 Range::FromZeroToBelowOne(), "the loss is -log max(x, this)")};
};

struct NllLoss {};
template <>
struct LossRow<NllLoss> : OverClasses {
  static constexpr int kNumber = 3;
  static constexpr std::string_view kName = "nll";
  static constexpr Family kFamily = Family::kPick;
  static constexpr Domain kPredictions = Domain::kLogProbabilities;
};

// A spec may be wrong in every field: LossPlan::Make is what checks it.
using Loss =
    std::variant<SoftmaxLoss, MultinomialLogisticLoss, NllLoss, PolicyLoss, BinaryCrossEntropyLoss,
                 SigmoidFocalLoss, HingeLoss, SquaredErrorLoss, AbsoluteErrorLoss, SmoothL1Loss,
                 HuberLoss, LogCoshLoss, QuantileLoss, PoissonNllLoss, GaussianNllLoss,
                 GaussianKlLoss, MarginRankingLoss, PairwiseLogisticLoss, PreferenceLoss, KtoLoss,
                 ValueLoss, DistillationLoss, KlDivergenceLoss, MultiMarginLoss,
                 MultiLabelMarginLoss, CosineEmbeddingLoss, CtcLoss, TverskyLoss, WassersteinLoss>;
inline constexpr size_t kLossCount = std::variant_size_v<Loss>;

template <class L>
concept HasOtherRow = requires {
  typename LossRow<L>::Otherwise;
};

// Whether a loss, with some of its options at least, is of a family.
template <class L>
constexpr bool MayBeOf(Family family) {
  if constexpr (HasOtherRow<L>) {
    if (LossRow<L>::Otherwise::kFamily == family) return true;
  }
  return LossRow<L>::kFamily == family;
}

// A row, whatever the loss.
struct LossFacts {
  int number;
  std::string_view name;
  Family family;
  Domain predictions;
  absl::Span<const TensorRule> tensors;
  bool ignores;          // takes ignore_labels
  bool smooths;          // takes label_smoothing
  bool second_gradient;  // has a gradient of second_predictions
  Per targets_per;       // of target values
  bool label_lists;      // class indices are a list for each position
};

namespace losses_internal {

template <class Row>
constexpr LossFacts FactsOfRow() {
  Per targets_per = Per::kElement;
  if constexpr (requires { Row::kTargetsPer; }) targets_per = Row::kTargetsPer;
  bool label_lists = false;
  if constexpr (requires { Row::kLabelLists; }) label_lists = Row::kLabelLists;
  return {Row::kNumber,  Row::kName,    Row::kFamily,         Row::kPredictions, Row::kTensors,
          Row::kIgnores, Row::kSmooths, Row::kSecondGradient, targets_per,       label_lists};
}

template <size_t... I>
constexpr auto Facts(std::index_sequence<I...>) {
  return std::array<LossFacts, sizeof...(I)>{
      FactsOfRow<LossRow<std::variant_alternative_t<I, Loss>>>()...};
}

template <size_t... I>
auto Defaults(std::index_sequence<I...>) {
  return std::array<Loss, sizeof...(I)>{std::variant_alternative_t<I, Loss>{}...};
}

}  // namespace losses_internal

// By index of the variant: the rows, and the losses with their default options.
inline constexpr auto kLossFacts = losses_internal::Facts(std::make_index_sequence<kLossCount>());
inline const auto kDefaultLosses =
    losses_internal::Defaults(std::make_index_sequence<kLossCount>());

// Whether a loss takes a tensor.
constexpr bool Takes(const LossFacts& loss, Role role) {
  for (const TensorRule& rule : loss.tensors) {
    if (rule.role == role) return true;
  }
  return false;
}

// Whether a loss takes targets of some kind.
constexpr bool TakesTargets(const LossFacts& loss) {
  for (const TensorRule& rule : loss.tensors) {
    if (FactsOf(rule.role).target_kind) return true;
  }
  return false;
}

// Of a loss that is another one with some of its options, the facts of that other row.
template <class Row>
inline constexpr LossFacts kOtherFacts = losses_internal::FactsOfRow<typename Row::Otherwise>();

inline const LossFacts& FactsOf(const Loss& any) {
  return std::visit(
      [&any]<class L>(const L& loss) -> const LossFacts& {
        if constexpr (HasOtherRow<L>) {
          if (LossRow<L>::IsOtherwise(loss)) return kOtherFacts<LossRow<L>>;
        }
        return kLossFacts[any.index()];
      },
      any);
}

// Whether the predictions travel in one piece: a position depends on more than its own classes.
inline bool IsInOneBox(const Loss& loss) {
  const Family family = FactsOf(loss).family;
  if (family == Family::kSequences || family == Family::kGroups) return true;
  const auto* const policy = std::get_if<PolicyLoss>(&loss);
  return policy != nullptr && policy->of_sequences();
}

// Calls visit(option) with each option of a loss.
template <class L, class Visit>
constexpr void ForEachOption(Visit visit) {
  std::apply([&visit](const auto&... option) { (visit(option), ...); }, LossRow<L>::kOptions);
}

// Calls visit(default message) with each message of a oneof.
template <class T, class Visit>
constexpr void ForEachMember(Visit visit) {
  [&visit]<size_t... I>(std::index_sequence<I...>) {
    (visit(std::variant_alternative_t<I + 1, T>()), ...);
  }
  (std::make_index_sequence<std::variant_size_v<T> - 1>());
}

template <class L>
inline constexpr size_t kOptionCount = std::tuple_size_v<decltype(LossRow<L>::kOptions)>;

// What target values a loss over elements takes.
inline TargetRange TargetsOf(const Loss& any) {
  return std::visit(
      []<class L>(const L& loss) {
        TargetRange range = TargetRange::kAny;
        if constexpr (requires { LossRow<L>::kTargets; }) range = LossRow<L>::kTargets;
        ForEachOption<L>([&]<class T>(const Option<L, T>& option) {
          if constexpr (std::is_same_v<T, BinaryTargets>) {
            const bool is_signed = loss.*option.member == BinaryTargets::kSigned;
            range = is_signed ? TargetRange::kSigned : TargetRange::kZeroOne;
          }
        });
        return range;
      },
      any);
}

// An option as the numbers that kernels take: one, NaN where it is not set. Of a oneof the index of
// what is set and its first three options.
template <class T, class Append>
void OptionNumbers(const T& value, Append append) {
  constexpr double kNotSet = std::numeric_limits<double>::quiet_NaN();
  if constexpr (kIsOptional<T>) {
    append(value ? static_cast<double>(*value) : kNotSet);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    append(value.empty() ? kNotSet : value.front());
  } else if constexpr (kIsOneOf<T>) {
    append(static_cast<double>(value.index()));
    int count = 0;
    std::visit(
        [&]<class M>(const M& message) {
          if constexpr (!std::is_same_v<M, std::monostate>) {
            ForEachOption<M>([&](const auto& option) {
              OptionNumbers(message.*option.member, append);
              ++count;
            });
          }
        },
        value);
    for (; count < 3; ++count) append(kNotSet);
  } else {
    append(static_cast<double>(value));
  }
}

// Calls visit(default loss) with each type of the variant.
template <class Visit>
constexpr void ForEachLoss(Visit visit) {
  [&visit]<size_t... I>(std::index_sequence<I...>) {
    (visit(std::variant_alternative_t<I, Loss>()), ...);
  }
  (std::make_index_sequence<kLossCount>());
}

}  // namespace lossd

#endif  // LOSSD_LOSSES_H_
