#include "client/call/answer_size.h"

namespace lossd {
namespace {

// The outputs that come: with NONE also the losses of positions, whether there is a buffer or not.
OutputSet Wanted(const ComputeJob& job) {
  OutputSet wanted = OutputsFor(job.into);
  wanted.position_losses |= job.spec.reduction == Reduction::kNone;
  return wanted;
}

}  // namespace

int64_t WholeAnswerBytes(const ComputeJob& job) {
  const OutputSet wanted = Wanted(job);
  int64_t bytes = 0;
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<MutableByteSpan>& row = kOutputRows<MutableByteSpan>[i];
    const MutableByteSpan buffer = job.into.*row.member;
    bytes += static_cast<int64_t>(buffer.size());
    if (buffer.empty() && wanted.*kOutputRows<bool>[i].member && job.geometry) {
      bytes += job.geometry->CountOf(row) * job.geometry->OutputSize(row);
    }
  }
  return bytes;
}

int64_t BlockAnswerBytes(const ComputeJob& job, const BlockPlan& plan) {
  const OutputSet wanted = Wanted(job);
  int64_t bytes = 0;  // of one position
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    if (wanted.*row.member) bytes += job.geometry->RowsOf(row) * job.geometry->OutputSize(row);
  }
  return plan.max_positions() * bytes;
}

}  // namespace lossd
