#ifndef LOSSD_CORE_EXEC_DENSE_TARGETS_H_
#define LOSSD_CORE_EXEC_DENSE_TARGETS_H_

#include <cstdint>
#include <vector>

#include "core/exec/box_job.h"

namespace lossd {

// c_k = w(k) t'_k of some rows, t' the smoothed targets, in CoefficientCompute(plan).
struct CoefficientRows {
  const std::byte* base = nullptr;  // row r begins r * stride bytes behind
  int64_t stride = 0;
  std::vector<double> weight;  // the share of each row in LossResult::weight_sum, without q

  const std::byte* Row(int64_t r) const { return base + r * stride; }
};

// Whether the targets are their own coefficients, and nothing is computed.
bool AreTargetsCoefficients(const LossPlan& plan);

// Precondition: work.positions holds the rows' positions. The result lives in `work`, or in the
// targets themselves where nothing has to be done to them. Once `stop` is set, it means nothing.
CoefficientRows MakeCoefficients(const RunState& run, const Rows& rows, kernels::Stop stop,
                                 Workspace& work);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_DENSE_TARGETS_H_
