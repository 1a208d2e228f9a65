#ifndef LOSSD_CORE_EXEC_CLASS_WEIGHTS_H_
#define LOSSD_CORE_EXEC_CLASS_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/exec/executor.h"
#include "core/exec/reals.h"
#include "core/exec/scratch.h"
#include "core/plan/loss_plan.h"

namespace lossd {

// Normalised class weights w'(k) = w(k) * count / sum, in double; 1 where none were given.
class ClassWeights {
 public:
  ClassWeights() = default;

  // Checks every entry and every normalising sum (kInvalidArgument with index and value). `bytes`
  // is as large as the plan says and must outlive the object; empty if the plan has no class
  // weights.
  static absl::StatusOr<ClassWeights> Make(const LossPlan& plan, ByteSpan bytes, Executor& executor,
                                           StopToken stop);

  bool given() const { return given_; }

  // Whether the weights are the same at every position; then Table() has one per class.
  bool same_everywhere() const { return table_ != nullptr; }
  const double* Table() const { return table_; }

  // Weight of class k at position (o, i).
  double At(int64_t o, int64_t k, int64_t i) const;

 private:
  int64_t SumIndex(int64_t o, int64_t i) const;
  double Raw(int64_t o, int64_t k, int64_t i) const;
  double Normalized(int64_t o, int64_t k, int64_t i) const;
  void Sum(int64_t first_row, int64_t i, kernels::Stop stop);

  bool given_ = false;
  kernels::Real real_ = kernels::Real::kF32;
  ByteSpan bytes_;
  int64_t classes_ = 0;
  ClassWeightsPlan plan_;
  double count_ = 0;          // what the weights of one normalised part sum to; 0: not normalised
  std::vector<double> sums_;  // by SumIndex
  Scratch table_memory_;
  double* table_ = nullptr;  // for weights of shape [C]
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_CLASS_WEIGHTS_H_
