#ifndef LOSSD_CORE_EXEC_LABELS_H_
#define LOSSD_CORE_EXEC_LABELS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lossd/tensor.h"

namespace lossd {

// Class-index targets of any dtype, read as classes.
class Labels {
 public:
  Labels() = default;
  // `bytes` holds whole elements of `dtype` and must outlive the object.
  Labels(DType dtype, ByteSpan bytes, int64_t classes, std::vector<int64_t> ignored);

  // out[i] = class of position begin + i: 0 <= class < classes, or kernels::kIgnoredLabel, or
  // kernels::kInvalidLabel for a label out of range, NaN, or not a whole number.
  void Read(int64_t begin, int64_t count, int32_t* out) const;

  // The label as its dtype would print it.
  std::string ValueString(int64_t position) const;

 private:
  DType dtype_ = DType::kI64;
  ByteSpan bytes_;
  int64_t classes_ = 0;
  std::vector<int64_t> ignored_;  // sorted
};

}  // namespace lossd

#endif  // LOSSD_CORE_EXEC_LABELS_H_
