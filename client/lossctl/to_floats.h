#ifndef LOSSD_CLIENT_LOSSCTL_TO_FLOATS_H_
#define LOSSD_CLIENT_LOSSCTL_TO_FLOATS_H_

#include "absl/status/statusor.h"
#include "client/npy/npy.h"

namespace lossd::lossctl {

// The same numbers in a floating dtype: masks of bool and multi-hot targets are often integers, and
// the server takes weights and probabilities as floats. f32 for integers of 1 and 2 bytes, f64 for
// others; floats stay as they are. kInvalidArgument for an integer that no f64 holds,
// kResourceExhausted where memory is short.
absl::StatusOr<npy::NpyTensor> ToFloats(const npy::NpyTensor& tensor);

}  // namespace lossd::lossctl

#endif  // LOSSD_CLIENT_LOSSCTL_TO_FLOATS_H_
