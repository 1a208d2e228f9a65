#ifndef LOSSD_LOSS_ROWS_H_
#define LOSSD_LOSS_ROWS_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>
#include <variant>

#include "absl/types/span.h"
#include "lossd/tensors.h"

// What the row of a loss says: its family, its tensors, its options and their ranges.

namespace lossd {

// What a loss reduces, and thereby how it is computed.
enum class Family : int8_t {
  kPick,       // one class of each position
  kSoftmax,    // the exponentials of all classes of each position
  kElements,   // nothing: every element of the predictions is a position of its own
  kRows,       // whatever it likes of a position's classes
  kSequences,  // frames: a sequence of them is a position
  kGroups,     // all positions of a sample, or all: a class of them is a position
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
    case Family::kRows:
      return "rows";
    case Family::kSequences:
      return "sequences";
    case Family::kGroups:
      return "groups";
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

  static constexpr Range Positive() { return {0, kInfinity, false, false, "a finite number > 0"}; }
  static constexpr Range FromZeroToBelowTwo() { return {0, 2, true, false, "a number in [0, 2)"}; }
  static constexpr Range FromZeroToRightAngle() {
    return {0, kRightAngle, true, false, "an angle in [0, pi/2)"};
  }
  static constexpr Range FromOne() { return {1, kInfinity, true, false, "a finite number >= 1"}; }
  static constexpr Range OneOrTwo() { return {1, 2, true, true, "1 or 2"}; }
  static constexpr Range FromZeroToOne() { return {0, 1, true, true, "a number in [0, 1]"}; }
  static constexpr Range BetweenZeroAndOne() { return {0, 1, false, false, "a number in (0, 1)"}; }
  static constexpr Range FromZeroToHalf() { return {0, 0.5, true, true, "a number in [0, 0.5]"}; }
  static constexpr Range FromZeroToBelowHalf() {
    return {0, 0.5, true, false, "a number in [0, 0.5)"};
  }
  static constexpr Range FromZeroToBelowOne() { return {0, 1, true, false, "a number in [0, 1)"}; }
  static constexpr Range Finite() {
    return {-kInfinity, kInfinity, false, false, "a finite number"};
  }
  static constexpr Range FromMinusOneToOne() { return {-1, 1, true, true, "a number in [-1, 1]"}; }
  static constexpr Range OneToThousand() { return {1, 1000, true, true, "1 to 1000"}; }
  static constexpr Range FiniteFromZero() {
    return {0, kInfinity, true, false, "a finite number >= 0"};
  }

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr double kRightAngle = 1.5707963267948966;
};

// No primary template: a loss without a row does not compile.
template <class L>
struct LossRow;

// What target values may be.
enum class TargetRange : int8_t { kAny, kZeroOne, kSigned };

// The words for the values 1, 2, ... of an enum, as in the enum of loss.proto without its prefix.
// No primary template: an enum without words is no option.
template <class E>
struct Words;

// An option of loss L. In the message of the loss it is a field, marked `optional` where its
// default is not 0: a double, int32 or bool, as T is; of std::optional<T> an optional one without a
// default; of an enum that has Words an optional enum; of std::vector<double> a repeated
// double. A message of options has a LossRow of its own: of std::variant<std::monostate, M...> the
// field is a oneof of them, which has no number and must be set; of a single M the field is that
// message, and may be absent.
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

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <class T>
inline constexpr bool kIsOneOf = false;
template <class... M>
inline constexpr bool kIsOneOf<std::variant<std::monostate, M...>> = true;

// Whether T is a single message, which may be absent.
template <class T>
inline constexpr bool kIsMessage = false;
template <class M>
inline constexpr bool kIsMessage<std::variant<std::monostate, M>> = true;

// Of a oneof, or of a single message.
template <class L, class T>
constexpr Option<L, T> MakeOneOf(std::string_view name, T L::*member, std::string_view help) {
  return {0, name, member, Range::Finite(), help};
}

// Whether a loss must be given a tensor. Of several kOneOf, exactly one; kTogether: all of these or
// none; kByOption: where an option needs it, and only there. Others are refused.
enum class Presence : int8_t { kRequired, kOneOf, kOptional, kTogether, kByOption };
struct TensorRule {
  Role role;
  Presence presence;
};

// A tensor of Presence::kByOption: the loss needs it exactly where `needed`.
template <class L>
struct Need {
  Role role;
  bool (*needed)(const L& loss);
  std::string_view when;  // in words: "value_clip is set"
};

// A tensor that the loss does not take with some of its options.
template <class L>
struct TensorConflict {
  Role role;
  bool (*refused)(const L& loss);
  std::string_view wanted;  // "none with the variants CPO, SIMPO and ORPO"
};

// Options of one loss that may not be together.
template <class L>
struct Conflict {
  std::string_view option;  // the one that is refused
  bool (*exists)(const L& loss);
  std::string_view wanted;  // "none unless the variant is SIMPO"
  std::string_view value = "given";
};

}  // namespace lossd

#endif  // LOSSD_LOSS_ROWS_H_
