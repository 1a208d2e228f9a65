#ifndef LOSSD_CORE_EXEC_POLICY_SUMS_H_
#define LOSSD_CORE_EXEC_POLICY_SUMS_H_

#include <cstdint>

#include "core/exec/box_job.h"

namespace lossd {

// Consecutive tokens, for which Positions knows q and what is ignored. Arrays have slack like
// scratch.
struct TokenArrays {
  const double* log_probability;
  const double* advantage;
  const double* old;              // null: that of log_probability
  const double* reference;        // null: there is none
  const double* ratio = nullptr;  // null: e^(log_probability - old)
};

// Adds to the sums of a unit what a policy loss says of its tokens. `output` is the index of the
// first one's outputs in the box, among which the entropies are written already.
void AddPolicySums(const BoxJob& job, const Positions& positions, const TokenArrays& tokens,
                   int64_t output, UnitSums& unit);

// The same of the pairs of a preference loss: the policy's log-probabilities less the reference's.
void AddPreferenceSums(const Positions& positions, double beta, const double* chosen,
                       const double* rejected, UnitSums& unit);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_POLICY_SUMS_H_
