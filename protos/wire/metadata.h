#ifndef LOSSD_WIRE_METADATA_H_
#define LOSSD_WIRE_METADATA_H_

namespace lossd::wire {

// Metadata of a unary call: the size of its message in bytes, decimal. A server that knows it asks
// for the memory before it reads, and a small message does not wait behind some that may be large.
// May be left out.
inline constexpr char kMessageBytesKey[] = "loss-bytes";

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_METADATA_H_
