#ifndef LOSSD_CORE_EXEC_FAMILY_H_
#define LOSSD_CORE_EXEC_FAMILY_H_

#include <cstdint>
#include <variant>

#include "lossd/loss_spec.h"

namespace lossd {

// What a loss reduces, which decides the bodies that compute it.
enum class Family : int8_t {
  kSoftmax,  // the log-sum-exp of a row
  kPick,     // nothing: each class counts by itself, and with one label only that class
};

// The family of each loss. There is no primary template: a loss that is added to the variant does
// not compile before it is added here.
template <class L>
struct FamilyOfLoss;
template <>
struct FamilyOfLoss<SoftmaxLoss> {
  static constexpr Family kFamily = Family::kSoftmax;
};
template <>
struct FamilyOfLoss<MultinomialLogisticLoss> {
  static constexpr Family kFamily = Family::kPick;
};
template <>
struct FamilyOfLoss<NllLoss> {
  static constexpr Family kFamily = Family::kPick;
};

inline Family FamilyOf(const Loss& loss) {
  return std::visit([]<class L>(const L&) { return FamilyOfLoss<L>::kFamily; }, loss);
}

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_FAMILY_H_
