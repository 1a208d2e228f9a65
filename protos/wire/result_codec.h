#ifndef LOSSD_WIRE_RESULT_CODEC_H_
#define LOSSD_WIRE_RESULT_CODEC_H_

#include "absl/status/statusor.h"
#include "lossd/loss_result.h"
#include "lossd/v1/loss.pb.h"

namespace lossd::wire {

// kInvalidArgument where an exact sum is not in its portable form, or a count is negative.
absl::StatusOr<PartialSums> FromProto(const v1::PartialSums& sums);
void ToProto(const PartialSums& sums, v1::PartialSums& written);

// Likewise; `exact` is required.
absl::StatusOr<LossResult> FromProto(const v1::LossResult& result);
void ToProto(const LossResult& result, v1::LossResult& written);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_RESULT_CODEC_H_
