#ifndef LOSSD_WIRE_RESULT_CODEC_H_
#define LOSSD_WIRE_RESULT_CODEC_H_

#include "absl/status/statusor.h"
#include "lossd/loss_result.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/writer.h"

namespace lossd::wire {

// kInvalidArgument where an exact sum is not in its portable form, or a count is negative.
absl::StatusOr<PartialSums> FromProto(const v1::PartialSums& sums);
Writer ToProto(const PartialSums& sums);

// Likewise; `exact` is required.
absl::StatusOr<LossResult> FromProto(const v1::LossResult& result);
Writer ToProto(const LossResult& result);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_RESULT_CODEC_H_
