#ifndef LOSSD_WIRE_METADATA_H_
#define LOSSD_WIRE_METADATA_H_

namespace lossd::wire {

// Metadata of a unary call: the size of its message in bytes, decimal. A server that knows it asks
// for the memory before it reads, and a small message does not wait behind some that may be large.
// May be left out.
inline constexpr char kMessageBytesKey[] = "loss-bytes";

// By which a client names its call, and trailer in which the name comes back: lossd gives every
// call one.
inline constexpr char kRequestIdKey[] = "x-request-id";

// Trailers of a call that lossd turned away: why, in a word, and gRPC's own for when to come again,
// in milliseconds.
inline constexpr char kReasonKey[] = "loss-reason";
inline constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_METADATA_H_
