#ifndef LOSSD_LOSSCTL_LAYOUT_H_
#define LOSSD_LOSSCTL_LAYOUT_H_

#include <memory>

#include "absl/status/statusor.h"
#include "client/npy/npy.h"
#include "lossd/tensor.h"

namespace lossd::lossctl {

// Whether row-major and column-major are the same bytes: at most one extent above 1, or no element.
bool SameInBothLayouts(absl::Span<const int64_t> shape);

// The same tensor (shape and value at every index) with its elements in the order of `layout`; the
// same memory where nothing must move. kResourceExhausted where memory is short.
absl::StatusOr<npy::NpyTensor> InLayout(const npy::NpyTensor& tensor, Layout layout);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_LAYOUT_H_
