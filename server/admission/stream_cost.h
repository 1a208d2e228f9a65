#ifndef LOSSD_SERVER_ADMISSION_STREAM_COST_H_
#define LOSSD_SERVER_ADMISSION_STREAM_COST_H_

#include <cstdint>

#include "core/plan/loss_plan.h"

namespace lossd {

// What one stream makes the server hold: its side tensors, a few messages with the outputs of their
// blocks, and what computing them takes. How large the messages are shows only as they come, so the
// stream pays for what is usual first, and more when a larger one has come. Sums stop at the
// largest int64.
class StreamCost {
 public:
  // Of a stream over `positions` of the plan's positions, with side tensors of `side_bytes`, of
  // which at most `in_flight` messages are held at once. Computing takes `working_bytes` more.
  StreamCost(const LossPlan& plan, int64_t positions, int64_t side_bytes, int64_t working_bytes,
             int in_flight);

  // With messages of at most `message_bytes`; never more than if all came at once.
  int64_t WithMessages(int64_t message_bytes) const;

  // To begin with; covers one message of `max_message_bytes` before anything is known.
  int64_t Initial(int64_t max_message_bytes) const;

  // All that the client is to send, without its envelopes.
  int64_t upload_bytes() const { return upload_; }

 private:
  int64_t fixed_;  // side tensors and working memory
  int64_t upload_;
  int64_t all_;        // if all of it were held at once
  double out_per_in_;  // bytes of outputs for each byte of a block
  int in_flight_;
};

// The default message size of clients, and some more.
inline constexpr int64_t kUsualMessageBytes = int64_t{8} << 20;

// Outputs of a whole plan, computed at once.
int64_t OutputBytes(const LossPlan& plan);

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_STREAM_COST_H_
