#ifndef LOSSD_CLIENT_CALL_ANSWER_SIZE_H_
#define LOSSD_CLIENT_CALL_ANSWER_SIZE_H_

#include <cstdint>

#include "client/call/compute_job.h"

namespace lossd {

// Bytes of an answer beside its tensors: sums, counts, descriptions, and what later servers add.
inline constexpr int64_t kAnswerRoomBytes = 64 << 10;

// Bytes of the tensors that answer the whole job in one message.
int64_t WholeAnswerBytes(const ComputeJob& job);

// Bytes of the tensors that answer the largest block of a stream.
int64_t BlockAnswerBytes(const ComputeJob& job, const BlockPlan& plan);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_ANSWER_SIZE_H_
