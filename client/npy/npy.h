#ifndef LOSSD_NPY_NPY_H_
#define LOSSD_NPY_NPY_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lossd/tensor.h"

// NumPy's .npy files, versions 1 to 3. Element types:
//   <f2 <f4 <f8, |i1 <i2 <i4 <i8, |u1 <u2 <u4 <u8   f16 f32 f64, i8..i64, u8..u64
//   >f2 and so on                                  the same in big-endian: swapped while reading
//   <V2, |V2, bfloat16                             bf16: what NumPy writes for ml_dtypes.bfloat16
//   |b1                                            bool: read as u8, 0 and 1
// Complex, text, objects and structures are refused. fortran_order True means column-major.
//
// Every error names the file. kInvalidArgument: not a file of this kind, or damaged. The code of
// errno where the system refused.

namespace lossd::npy {

// The tensor of a file. The file stays mapped (elements in big-endian are copied), so it must not
// be truncated before the tensor is gone; replacing it by rename is harmless.
class NpyTensor {
 public:
  NpyTensor(TensorView view, std::shared_ptr<const void> memory)
      : view_(std::move(view)), memory_(std::move(memory)) {}

  const TensorView& view() const { return view_; }

  // The same memory seen in another way.
  NpyTensor WithView(TensorView view) const { return NpyTensor(std::move(view), memory_); }

 private:
  TensorView view_;
  std::shared_ptr<const void> memory_;
};

// Reads a regular file that holds exactly one array. Nothing is allocated by a number in the file
// before it was compared with the file's size.
absl::StatusOr<NpyTensor> ReadNpy(const std::string& path);

// Whether WriteNpy could create `path`: to be asked before long work. Leaves no trace.
absl::Status CheckWritable(const std::string& path);

// Writes a version 1 file. A regular file (or a new one) gets all of the content or none: it is
// written beside `path` and renamed; a link is followed. Anything else (a pipe, /dev/null) is
// written to as it is. Not flushed to the disk.
// Precondition: tensor.bytes is as large as tensor.desc says (else kInvalidArgument).
absl::Status WriteNpy(const std::string& path, const TensorView& tensor);

}  // namespace lossd::npy

#endif  // LOSSD_NPY_NPY_H_
