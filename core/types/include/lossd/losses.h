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
#include "lossd/tensors.h"

// The catalogue of losses: of each a struct with its options, and a row. Formulas are in
// docs/semantics.md. A loss without a row does not compile; codec, checks, flags, metrics, bench
// and tests loop over the rows.

namespace lossd {

// What a loss reduces, and thereby how it is computed.
enum class Family : int8_t {
  kPick,      // one class of each position
  kSoftmax,   // the exponentials of all classes of each position
  kElements,  // nothing: every element of the predictions is a position of its own
};

// What predictions are.
enum class Domain : int8_t { kLogits, kProbabilities, kLogProbabilities, kNumbers };

constexpr std::string_view NameOf(Family family) {
  switch (family) {
    case Family::kPick:
      return "pick";
    case Family::kSoftmax:
      return "softmax";
    case Family::kElements:
      return "elements";
  }
  return "";
}

constexpr std::string_view NameOf(Domain domain) {
  switch (domain) {
    case Domain::kLogits:
      return "logits";
    case Domain::kProbabilities:
      return "probabilities";
    case Domain::kLogProbabilities:
      return "log-probabilities";
    case Domain::kNumbers:
      return "numbers";
  }
  return "";
}

// The values that a number may have.
struct Range {
  double least;
  double most;
  bool has_least;
  bool has_most;
  std::string_view wanted;  // the same in words

  // A NaN is in no range.
  constexpr bool Has(double value) const {
    return (has_least ? value >= least : value > least) &&
           (has_most ? value <= most : value < most);
  }

  static constexpr Range FromZeroToBelowOne() { return {0, 1, true, false, "a number in [0, 1)"}; }
  static constexpr Range Finite() {
    return {-kInfinity, kInfinity, false, false, "a finite number"};
  }
  static constexpr Range FiniteFromZero() {
    return {0, kInfinity, true, false, "a finite number >= 0"};
  }

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
};

// The words for the values 1, 2, ... of an enum, as in the enum of loss.proto without its prefix.
// No primary template: an enum without words is no option.
template <class E>
struct Words;

// An option of loss L. In the message of the loss it is a field, marked `optional` where its
// default is not 0: a double, int32 or bool, as T is; of std::optional<double> an optional double
// without a default; of an enum that has Words an optional enum; of std::vector<double> a repeated
// double.
template <class L, class T>
struct Option {
  using Value = T;

  int number;             // its field in the message of the loss
  std::string_view name;  // of that field; --log-floor is the flag of log_floor
  T L::*member;
  Range range;  // of a number, or of each of several; of others it says nothing
  std::string_view help;

  T default_value() const { return L().*member; }
};

template <class L, class T>
constexpr Option<L, T> MakeOption(int number, std::string_view name, T L::*member, Range range,
                                  std::string_view help) {
  return {number, name, member, range, help};
}
// Of a bool or an enum.
template <class L, class T>
constexpr Option<L, T> MakeOption(int number, std::string_view name, T L::*member,
                                  std::string_view help) {
  return {number, name, member, Range::Finite(), help};
}

// Whether a loss must be given a tensor. Of several kOneOf, exactly one. Others are refused.
enum class Presence : int8_t { kRequired, kOneOf, kOptional };
struct TensorRule {
  Role role;
  Presence presence;
};

// No primary template: a loss without a row does not compile.
template <class L>
struct LossRow;

// What losses over classes take.
inline constexpr TensorRule kClassTensors[] = {
    {Role::kClassIndices, Presence::kOneOf},        {Role::kClassProbabilities, Presence::kOneOf},
    {Role::kClassWeights, Presence::kOptional},     {Role::kPositionWeights, Presence::kOptional},
    {Role::kUpstreamGradient, Presence::kOptional}, {Role::kPredictions, Presence::kRequired}};

// What losses over elements with targets take.
inline constexpr TensorRule kElementTensors[] = {{Role::kClassWeights, Presence::kOptional},
                                                 {Role::kPositionWeights, Presence::kOptional},
                                                 {Role::kUpstreamGradient, Presence::kOptional},
                                                 {Role::kPredictions, Presence::kRequired},
                                                 {Role::kTargetValues, Presence::kRequired}};

// What the rows of losses over classes have in common.
struct OverClasses {
  static constexpr absl::Span<const TensorRule> kTensors = kClassTensors;
  static constexpr bool kIgnores = true;  // ignore_labels
  static constexpr bool kSmooths = true;  // label_smoothing
  static constexpr std::tuple<> kOptions = {};
};

// And of losses over elements with targets.
struct OverElements {
  static constexpr Family kFamily = Family::kElements;
  static constexpr Domain kPredictions = Domain::kNumbers;
  static constexpr absl::Span<const TensorRule> kTensors = kElementTensors;
  static constexpr bool kIgnores = false;
  static constexpr bool kSmooths = false;
  static constexpr std::tuple<> kOptions = {};
};

struct SoftmaxLoss {
  double log_floor = 0;
};
template <>
struct LossRow<SoftmaxLoss> : OverClasses {
  static constexpr int kNumber = 1;  // its field in lossd.v1.LossSpec
  static constexpr std::string_view kName = "softmax";
  static constexpr Family kFamily = Family::kSoftmax;
  static constexpr Domain kPredictions = Domain::kLogits;
  static constexpr std::tuple kOptions = {MakeOption(1, "log_floor", &SoftmaxLoss::log_floor,
                                                     Range::FromZeroToBelowOne(),
                                                     "clamps the probability in the loss value")};
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

struct SquaredErrorLoss {};
template <>
struct LossRow<SquaredErrorLoss> : OverElements {
  static constexpr int kNumber = 21;
  static constexpr std::string_view kName = "squared_error";
};

// A spec may be wrong in every field: LossPlan::Make is what checks it.
using Loss = std::variant<SoftmaxLoss, MultinomialLogisticLoss, NllLoss, SquaredErrorLoss>;
inline constexpr size_t kLossCount = std::variant_size_v<Loss>;

// A row, whatever the loss.
struct LossFacts {
  int number;
  std::string_view name;
  Family family;
  Domain predictions;
  absl::Span<const TensorRule> tensors;
  bool ignores;  // takes ignore_labels
  bool smooths;  // takes label_smoothing
};

namespace losses_internal {

template <class L>
constexpr LossFacts FactsOf() {
  using Row = LossRow<L>;
  return {Row::kNumber,  Row::kName,    Row::kFamily, Row::kPredictions,
          Row::kTensors, Row::kIgnores, Row::kSmooths};
}

template <size_t... I>
constexpr auto Facts(std::index_sequence<I...>) {
  return std::array<LossFacts, sizeof...(I)>{FactsOf<std::variant_alternative_t<I, Loss>>()...};
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

inline const LossFacts& FactsOf(const Loss& loss) { return kLossFacts[loss.index()]; }

// Calls visit(option) with each option of a loss.
template <class L, class Visit>
constexpr void ForEachOption(Visit visit) {
  std::apply([&visit](const auto&... option) { (visit(option), ...); }, LossRow<L>::kOptions);
}

template <class L>
inline constexpr size_t kOptionCount = std::tuple_size_v<decltype(LossRow<L>::kOptions)>;

// An option as the one number that kernels take; NaN where it is not set.
template <class T>
double OptionNumber(const T& value) {
  constexpr double kNotSet = std::numeric_limits<double>::quiet_NaN();
  if constexpr (std::is_same_v<T, std::optional<double>>) {
    return value.value_or(kNotSet);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    return value.empty() ? kNotSet : value.front();
  } else {
    return static_cast<double>(value);
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
