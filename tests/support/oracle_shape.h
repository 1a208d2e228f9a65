#ifndef LOSSD_TESTS_SUPPORT_ORACLE_SHAPE_H_
#define LOSSD_TESTS_SUPPORT_ORACLE_SHAPE_H_

#include <cstdint>
#include <vector>

#include "lossd/loss_spec.h"

// Shapes as the caller wrote them, walked index by index. No [outer][C][inner] here: that the
// core's three numbers mean the same is what the tests are to find out.
namespace lossd::oracle {

using Index = std::vector<int64_t>;  // one coordinate per dimension of a shape

// Where the element at `index` lies in memory, in elements.
int64_t Address(const Index& index, const std::vector<int64_t>& shape, Layout layout);

// Every index of `shape`, in some order; one empty index for rank 0.
std::vector<Index> AllIndices(const std::vector<int64_t>& shape);

// The index (or shape) without the dimension `axis`.
Index Without(const Index& index, int axis);

struct Geometry {
  std::vector<int64_t> shape;  // of the predictions
  Layout layout = Layout::kRowMajor;
  int class_axis = 0;
  int batch_axis = 0;  // may be the class axis

  int64_t classes() const { return shape[class_axis]; }
  // 1 where the predictions are one sample.
  int64_t batch_extent() const { return shape.size() == 1 ? 1 : shape[batch_axis]; }

  // The positions, each as an index into the predictions with class 0.
  std::vector<Index> Positions() const;
  // Of an element of the predictions.
  int64_t ElementAddress(const Index& index) const { return Address(index, shape, layout); }
  // Of that position, in a tensor with the shape of the labels.
  int64_t PositionAddress(const Index& position) const;
};

Geometry GeometryOf(const LossSpec& spec, const TensorDesc& predictions);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_ORACLE_SHAPE_H_
