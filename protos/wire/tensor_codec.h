#ifndef LOSSD_WIRE_TENSOR_CODEC_H_
#define LOSSD_WIRE_TENSOR_CODEC_H_

#include <google/protobuf/message.h>

#include <string_view>

#include "absl/status/status.h"
#include "lossd/tensor.h"
#include "protos/wire/message.h"
#include "protos/wire/walker.h"
#include "protos/wire/writer.h"

namespace lossd::wire {

// Whether a tensor carries its bytes, or only describes bytes that come elsewhere.
enum class Carries : int8_t { kBytes, kNothing, kBytesOrRegion };

// Where a field of a decoded message is: in a slot or, of a message that was parsed whole, there.
struct FieldSource {
  const LargeFields& large;
  const google::protobuf::Message& parsed;
  bool refuses_unknown = false;  // whether a tensor with an unknown field is kUnimplemented
};

// Whether a field of type Tensor is set.
bool HasTensor(const FieldSource& source, int number, int slot);

// Checks, in this order: no unknown field (of a request), dtype and layout known, rank, extents,
// their product, and that the data is as many bytes as that makes (or none), or that a region takes
// their place where one may. Errors name `name`.
// Precondition: HasTensor.
absl::Status ReadTensor(std::string_view name, const FieldSource& source, int number, int slot,
                        Carries carries, WireTensor& into);

// A field of type bytes.
ScatteredBytes ReadBytes(const FieldSource& source, int number, int slot);

// The tensor as field `number` of what `writer` writes.
void WriteTensor(int number, OutgoingTensor tensor, Writer& writer);

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_TENSOR_CODEC_H_
