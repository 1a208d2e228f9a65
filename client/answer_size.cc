#include "client/answer_size.h"

namespace lossd {
namespace {

// With NONE they come whether there is a buffer or not.
bool HasPositionLosses(const ComputeJob& job) {
  return !job.into.position_losses.empty() || job.spec.reduction == Reduction::kNone;
}

}  // namespace

int64_t WholeAnswerBytes(const ComputeJob& job) {
  const LossOutputs& into = job.into;
  int64_t bytes = 0;
  for (const MutableByteSpan buffer : {into.gradient, into.position_losses, into.log_sum_exp,
                                       into.argmax_hits, into.probabilities}) {
    bytes += static_cast<int64_t>(buffer.size());
  }
  if (HasPositionLosses(job) && into.position_losses.empty() && job.geometry) {
    bytes += job.geometry->positions() * int64_t{sizeof(double)};
  }
  return bytes;
}

int64_t BlockAnswerBytes(const ComputeJob& job, const BlockPlan& plan) {
  const Geometry& geometry = *job.geometry;
  const LossOutputs& into = job.into;
  int64_t bytes = 0;  // of one position
  if (!into.gradient.empty()) bytes += geometry.classes * geometry.gradient_size;
  if (!into.probabilities.empty()) bytes += geometry.classes * geometry.prediction_size;
  if (HasPositionLosses(job)) bytes += sizeof(double);
  if (!into.log_sum_exp.empty()) bytes += sizeof(double);
  if (!into.argmax_hits.empty()) bytes += 1;
  return plan.max_positions() * bytes;
}

}  // namespace lossd
