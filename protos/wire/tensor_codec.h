#ifndef LOSSD_WIRE_TENSOR_CODEC_H_
#define LOSSD_WIRE_TENSOR_CODEC_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lossd/tensor.h"
#include "lossd/v1/loss.pb.h"
#include "protos/wire/message.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {

inline constexpr int kMaxRank = 8;

// Whether a tensor carries its bytes, or only describes bytes that come elsewhere.
enum class Carries : int8_t { kBytes, kNothing };

// Checks, in this order: dtype and layout known, rank, extents, their product, and that the bytes
// in `slot` are as many as that makes (or none). Errors name `field`.
absl::StatusOr<WireTensor> ReadTensor(absl::string_view field, const v1::Tensor& tensor,
                                      const LargeFields& large, int slot, Carries carries);

// The tensor as field `number` of what `writer` writes.
void WriteTensor(int number, OutgoingTensor tensor, Writer& writer);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_TENSOR_CODEC_H_
