#ifndef LOSSD_TESTS_BENCH_ECHO_SETTINGS_H_
#define LOSSD_TESTS_BENCH_ECHO_SETTINGS_H_

#include <grpc/grpc.h>

// Channel settings of the echo, on both sides those of lossd and its client.

namespace lossd::bench {

template <class Set>
void ForEachEchoArgument(Set set) {
  set(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  set(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  set(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1);
  set(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
}

inline constexpr char kEchoUnary[] = "/lossd.v1.LossService/Compute";
inline constexpr char kEchoStream[] = "/lossd.v1.LossService/ComputeStream";
// As many bytes as are sent, and one empty message back at the end.
inline constexpr char kSinkStream[] = "/echo/Sink";

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_ECHO_SETTINGS_H_
