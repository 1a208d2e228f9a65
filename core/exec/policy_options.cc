#include "core/exec/policy_options.h"

#include <vector>

#include "core/kernels/heads-inl.h"
#include "core/kernels/kernels.h"

namespace lossd {
namespace {

using kernels::Compute;

// Of consecutive tokens, in double.
void CallHead(const double* options, const double* log_probability, const double* advantage,
              const double* old, const double* reference, int64_t count, double* values,
              double* slopes) {
  constexpr int kHead = kernels::HWY_NAMESPACE::ElementHeadIndex(LossRow<PolicyLoss>::kName);
  thread_local std::vector<double> slack;
  slack.assign(3 * (count + kernels::kGroup), 0);
  double* const spare = slack.data();
  if (slopes == nullptr) slopes = spare;
  double* const second = spare + count + kernels::kGroup;
  double* const event = second + count + kernels::kGroup;
  const double* const extras[kernels::kMaxElementExtras] = {advantage, old, reference};
  kernels::Active().elements[kHead].body[Index(Compute::kDouble)](
      {log_probability, nullptr, nullptr, extras, options, count, values, slopes, second, event});
}

}  // namespace

void PolicyOptions::Divergences(const TokenArrays& tokens, int64_t count, double* values,
                                double* slopes) const {
  auto options = options_;
  options[kernels::kPolicyObjective] = 1;  // importance sampling, of which nothing is left ..
  options[kernels::kPolicyKlCoefficient] = 1;
  const std::vector<double> nothing(count + kernels::kGroup, 0);  // .. without an advantage
  const double* const old = tokens.old == nullptr ? tokens.log_probability : tokens.old;
  CallHead(options.data(), tokens.log_probability, nothing.data(), old, tokens.reference, count,
           values, slopes);
}

void PolicyOptions::OfRatios(const double* log_ratio, const double* advantage, int64_t count,
                             double* values, double* slopes) const {
  auto options = options_;
  options[kernels::kPolicyKlCoefficient] = 0;
  const std::vector<double> nothing(count + kernels::kGroup, 0);
  CallHead(options.data(), log_ratio, advantage, nothing.data(), nothing.data(), count, values,
           slopes);
}

}  // namespace lossd
