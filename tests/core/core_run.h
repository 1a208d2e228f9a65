#ifndef LOSSD_TESTS_CORE_CORE_RUN_H_
#define LOSSD_TESTS_CORE_CORE_RUN_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/exec/executor.h"
#include "lossd/loss_result.h"
#include "tests/core/guarded_buffer.h"
#include "tests/support/loss_case.h"
#include "tests/support/oracle.h"

namespace lossd::oracle {

// The threads of this test program.
Executor& TestExecutor();

// The outputs of a computation, each guarded.
struct CoreOutputs : Outputs<GuardedBuffer> {
  // Buffers for the outputs the case wants.
  static CoreOutputs For(const LossCase& loss_case, size_t misalignment = 0);
  LossOutputs spans();
  bool intact() const;
};

struct CoreAnswer {
  absl::Status status;
  LossResult result;
  CoreOutputs outputs;
};

CoreAnswer RunCore(const LossCase& loss_case, Executor& executor = TestExecutor(),
                   size_t misalignment = 0);

// "" where both answers have the same bits in every sum, count and output; else what differs.
// `compare_outputs` false: sums and counts only.
std::string BitDifference(const CoreAnswer& a, const CoreAnswer& b, bool compare_outputs = true);

// The largest error/bound ratios seen, by loss, dtype and quantity.
class Ledger {
 public:
  void Note(const std::string& loss, DType dtype, const std::string& quantity, Real ratio);
  void Print() const;

 private:
  std::map<std::string, Real> worst_;
};
Ledger& TestLedger();

// "" where the core's answer is within the oracle's bounds everywhere; else the first few entries
// that are not, with the case. Ratios go to the ledger.
std::string Disagreement(const LossCase& loss_case, const CoreAnswer& core);
std::string Disagreement(const LossCase& loss_case, const Answer& oracle, const CoreAnswer& core);

// Runs the case and expects no disagreement; false if there was one.
bool ExpectAgreement(const LossCase& loss_case, const std::string& context = "",
                     size_t misalignment = 0);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_CORE_CORE_RUN_H_
