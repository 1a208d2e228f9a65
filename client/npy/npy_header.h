#ifndef LOSSD_NPY_NPY_HEADER_H_
#define LOSSD_NPY_NPY_HEADER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "lossd/tensor.h"

namespace lossd::npy {

struct NpyHeader {
  TensorDesc desc;
  bool big_endian = false;  // the elements' bytes are to be swapped
  int64_t size = 0;         // bytes in front of the elements
};

// Reads what stands before the elements. `file` is the whole file, or at least the whole header.
// kInvalidArgument says what is wrong, without the file's name.
absl::StatusOr<NpyHeader> ParseHeader(ByteSpan file);

// A version 1 header, padded so that the elements begin at a multiple of 64 bytes.
std::string FormatHeader(const TensorDesc& desc);

}  // namespace lossd::npy

#endif  // LOSSD_NPY_NPY_HEADER_H_
