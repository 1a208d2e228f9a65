#ifndef LOSSD_CLIENT_CALL_BLOCK_IO_H_
#define LOSSD_CLIENT_CALL_BLOCK_IO_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "client/call/geometry.h"
#include "client/call/loans.h"
#include "lossd/loss_spec.h"
#include "protos/wire/response_codec.h"

namespace lossd {

// The runs of consecutive bytes that make up a box of a tensor [outer][rows][inner]: `count` runs
// of `bytes` bytes, from byte `first` on, `stride` apart. Packed, they follow each other.
struct Runs {
  int64_t first = 0;
  int64_t count = 0;
  int64_t bytes = 0;
  int64_t stride = 0;

  int64_t total() const { return count * bytes; }
};

// The runs of a tensor with `rows` rows per plane (classes or 1) of `element_size` bytes each.
Runs RunsOf(const Geometry& geometry, const Box& box, int64_t rows, int64_t element_size);

// The runs of a tensor as payloads: lent where they lie if they are long, copied if they are not.
std::vector<wire::Payload> Gather(ByteSpan tensor, const Runs& runs, const Loans& loans);

// Copies packed bytes to their runs. Precondition: packed.size() == runs.total().
void Scatter(const ScatteredBytes& packed, const Runs& runs, MutableByteSpan tensor);

// Copies the outputs of one box to their places in `into`. kInternal, and nothing is copied, where
// an output that has a buffer is missing or is not exactly as large as the box says.
absl::Status PlaceBox(const wire::OutputFields<ScatteredBytes>& outputs, const Geometry& geometry,
                      const Box& box, const LossOutputs& into);

// The same for the outputs of a whole tensor, each as large as its buffer.
absl::Status PlaceWhole(const wire::OutputFields<wire::WireTensor>& outputs,
                        const LossOutputs& into);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CALL_BLOCK_IO_H_
