#ifndef LOSSD_TESTS_BITS_GEOMETRY_H_
#define LOSSD_TESTS_BITS_GEOMETRY_H_

#include <cstdint>

#include "lossd/v1/loss.pb.h"

// The shape rules of loss.proto, written once more: nothing here is the product's.

namespace lossd::bits {

template <class Shape>
int64_t Product(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

// Memory is [outer][classes][inner].
struct Extents {
  int64_t outer = 1;
  int64_t classes = 1;
  int64_t inner = 1;
};

inline Extents ExtentsOf(const v1::Tensor& predictions, int axis) {
  Extents extents;
  const bool column_major = predictions.layout() == v1::LAYOUT_COLUMN_MAJOR;
  for (int d = 0; d < predictions.shape_size(); ++d) {
    int64_t& part = d == axis                    ? extents.classes
                    : (d < axis) != column_major ? extents.outer
                                                 : extents.inner;
    part *= predictions.shape(d);
  }
  return extents;
}

}  // namespace lossd::bits

#endif  // LOSSD_TESTS_BITS_GEOMETRY_H_
