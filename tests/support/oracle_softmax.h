#ifndef LOSSD_TESTS_SUPPORT_ORACLE_SOFTMAX_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_SOFTMAX_H_

#include "tests/support/oracle_row.h"

namespace lossd::oracle {

// ComputeRow of the softmax loss: u is the roundoff of the compute type, `smallest` its smallest
// normal number.
void SoftmaxRow(const SoftmaxLoss& loss, const Row& row, Real u, Real smallest, RowAnswer& answer);

// The logits z of which the softmax is taken.
std::vector<Real> ChangedLogits(const Loss& loss, const Row& row);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_SOFTMAX_H_
