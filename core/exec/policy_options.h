#ifndef LOSSD_CORE_EXEC_POLICY_OPTIONS_H_
#define LOSSD_CORE_EXEC_POLICY_OPTIONS_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "core/exec/policy_sums.h"
#include "lossd/losses.h"

namespace lossd {

// The head of the policy loss over log-probabilities, told to find one part of the loss alone.
class PolicyOptions {
 public:
  explicit PolicyOptions(const PolicyLoss& loss) {
    ForEachOption<PolicyLoss>([&](const auto& option) {
      OptionNumbers(loss.*option.member, [&](double number) { options_.push_back(number); });
    });
    options_.push_back(0);  // label smoothing, which the loss does not have
  }

  // The estimated divergences from the reference, without the coefficient; and their slopes.
  void Divergences(const TokenArrays& tokens, int64_t count, double* values,
                   double* slopes = nullptr) const;

  // The objective without the divergence, of ratios given by their logarithm.
  void OfRatios(const double* log_ratio, const double* advantage, int64_t count, double* values,
                double* slopes) const;

 private:
  absl::InlinedVector<double, 16> options_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_POLICY_OPTIONS_H_
