#ifndef LOSSD_WIRE_LIMITS_H_
#define LOSSD_WIRE_LIMITS_H_

#include <cstdint>

namespace lossd::wire {

// What one call may ask of a server, in bytes. Beyond a limit: kResourceExhausted.
struct Limits {
  int64_t max_unary_bytes = 64 << 20;           // a ComputeRequest message
  int64_t max_block_bytes = 64 << 20;           // a message on a stream
  int64_t max_side_bytes = int64_t{1} << 30;    // all side tensors of one stream together
  int64_t max_tensor_bytes = int64_t{1} << 40;  // predictions of one stream
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_LIMITS_H_
