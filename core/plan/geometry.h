#ifndef LOSSD_CORE_PLAN_GEOMETRY_H_
#define LOSSD_CORE_PLAN_GEOMETRY_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/plan/checks.h"
#include "lossd/tensor.h"

namespace lossd::plan {

inline constexpr int kMaxRank = 8;
inline constexpr int64_t kMaxClasses = INT32_MAX;  // labels are kept in 32 bits

// Of every tensor, as if it had no empty dimension: so that its size in bytes fits into 63 bits in
// any dtype, and so do the products of all its parts.
inline constexpr int64_t kMaxElements = INT64_MAX / 8;

// Where the classes and the samples of predictions are. Column-major predictions lie in memory as
// row-major ones of the reversed shape do; the three extents below are those of memory.
struct Geometry {
  int class_axis = 0;   // index into the shape as written, 0..rank-1
  int64_t outer = 1;    // product of the extents that vary more slowly than the classes
  int64_t classes = 1;  // >= 1
  int64_t inner = 1;    // product of the extents that vary faster
  // Index of the batch dimension in the shape as written: first in row-major, last in column-major.
  // Absent for rank 1 (one sample) and where the class axis takes its place.
  std::optional<int> batch_axis;
  // Number of samples; absent where the class axis is the batch dimension of a higher rank.
  std::optional<int64_t> batch;
};

// Checks the description of the predictions, and the class axis (default: row-major 1, column-major
// -2, rank 1: 0).
absl::StatusOr<Geometry> MakeGeometry(const TensorDesc& predictions, std::optional<int> class_axis);

// kInvalidArgument unless `tensor` is in the predictions' layout, or its bytes are the same in
// both.
absl::Status CheckLayout(const Field& field, const TensorDesc& tensor,
                         const TensorDesc& predictions);

// kInvalidArgument unless the shape is the predictions'.
absl::Status CheckSameShape(const Field& field, const TensorDesc& tensor,
                            const TensorDesc& predictions);

// kInvalidArgument unless the shape is the predictions' with the class axis 1 or removed.
absl::Status CheckLabelShape(const Field& field, const TensorDesc& tensor,
                             const TensorDesc& predictions, const Geometry& geometry);

}  // namespace lossd::plan

#endif  // LOSSD_CORE_PLAN_GEOMETRY_H_
