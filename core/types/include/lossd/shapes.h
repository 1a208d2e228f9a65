#ifndef LOSSD_SHAPES_H_
#define LOSSD_SHAPES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "lossd/losses.h"
#include "lossd/tensor.h"

// The rules of shapes that server, client and lossctl share.

namespace lossd {

// The class axis as an index into the shape as written. Not given, it is 1 in row-major, -2 in
// column-major, 0 for rank 1. nullopt where the predictions have no such axis.
std::optional<int> ClassAxis(std::optional<int> wanted, const TensorDesc& predictions);

// The batch dimension: the first in row-major, the last in column-major. Precondition: rank >= 1.
int BatchAxis(const TensorDesc& predictions);

// A tensor as it lies in memory, [outer][classes][inner]. Column-major tensors lie there as
// row-major ones of the reversed shape do.
struct Extents {
  int64_t outer = 1;  // product of the extents that vary more slowly than the classes
  int64_t classes = 1;
  int64_t inner = 1;  // product of the extents that vary faster
};
// Precondition: no product of extents overflows.
Extents ExtentsOf(const TensorDesc& predictions, int class_axis);

// `shape` without dimension `axis`.
std::vector<int64_t> Without(absl::Span<const int64_t> shape, int axis);

// Whether `shape` is that of labels: the predictions' with the class axis 1 or removed.
bool IsLabelShape(absl::Span<const int64_t> shape, absl::Span<const int64_t> predictions,
                  int class_axis);

// Of a loss over sequences or groups, the shape of what has an element for each position: [N] of
// sequences, [C] or that of samples and classes of groups. nullopt of other losses, and where the
// predictions lack an axis for it.
std::optional<std::vector<int64_t>> GroupedShape(const Loss& loss, const TensorDesc& predictions,
                                                 int class_axis);

}  // namespace lossd

#endif  // LOSSD_SHAPES_H_
