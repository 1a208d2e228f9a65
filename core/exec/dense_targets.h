#ifndef LOSSD_CORE_EXEC_DENSE_TARGETS_H_
#define LOSSD_CORE_EXEC_DENSE_TARGETS_H_

#include <cstdint>
#include <vector>

#include "core/exec/box_job.h"
#include "core/exec/rows.h"

namespace lossd {

// c_k = w(k) t'_k of some rows, t' the smoothed targets, in the type the rows are computed in.
struct CoefficientRows {
  const std::byte* base = nullptr;  // row r begins r * stride bytes behind
  int64_t stride = 0;
  std::vector<double> weight;  // the share of each row in LossResult::weight_sum, without q

  const std::byte* Row(int64_t r) const { return base + r * stride; }
};

// Precondition: work.positions holds the rows' positions. The result lives in `work`, or in the
// targets themselves where nothing has to be done to them. Once `stop` is set, it means nothing.
CoefficientRows MakeCoefficients(const RunState& run, const Rows& rows, kernels::Compute compute,
                                 kernels::Stop stop, Workspace& work);

// What MakeCoefficients takes for rows of `elements` together.
int64_t CoefficientBytes(const LossPlan& plan, kernels::Compute compute, int64_t elements);

// The class that is to be found in row r: the label, or the largest target; below 0 if there is
// none.
int64_t TargetClass(const BoxJob& job, const Rows& rows, int64_t r, const Positions& positions);

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_DENSE_TARGETS_H_
