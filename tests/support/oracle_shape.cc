#include "tests/support/oracle_shape.h"

namespace lossd::oracle {

int64_t Address(const Index& index, const std::vector<int64_t>& shape, Layout layout) {
  const int rank = static_cast<int>(shape.size());
  int64_t address = 0;
  for (int i = 0; i < rank; ++i) {
    const int slow_to_fast = layout == Layout::kRowMajor ? i : rank - 1 - i;
    address = address * shape[slow_to_fast] + index[slow_to_fast];
  }
  return address;
}

std::vector<Index> AllIndices(const std::vector<int64_t>& shape) {
  std::vector<Index> all = {Index()};
  for (const int64_t extent : shape) {
    std::vector<Index> longer;
    for (const Index& index : all) {
      for (int64_t i = 0; i < extent; ++i) {
        longer.push_back(index);
        longer.back().push_back(i);
      }
    }
    all = std::move(longer);
  }
  return all;
}

Index Without(const Index& index, int axis) {
  Index rest = index;
  rest.erase(rest.begin() + axis);
  return rest;
}

std::vector<Index> Geometry::Positions() const {
  std::vector<int64_t> one_class = shape;
  one_class[class_axis] = 1;
  return AllIndices(one_class);
}

int64_t Geometry::PositionAddress(const Index& position) const {
  return Address(Without(position, class_axis), Without(shape, class_axis), layout);
}

Geometry GeometryOf(const LossSpec& spec, const TensorDesc& predictions) {
  const int rank = static_cast<int>(predictions.shape.size());
  Geometry geometry;
  geometry.shape = predictions.shape;
  geometry.layout = predictions.layout;
  if (spec.class_axis) {
    geometry.class_axis = *spec.class_axis < 0 ? *spec.class_axis + rank : *spec.class_axis;
  } else if (rank == 1) {
    geometry.class_axis = 0;
  } else {
    geometry.class_axis = predictions.layout == Layout::kRowMajor ? 1 : rank - 2;
  }
  geometry.batch_axis = predictions.layout == Layout::kRowMajor ? 0 : rank - 1;
  return geometry;
}

}  // namespace lossd::oracle
