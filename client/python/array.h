#ifndef LOSSD_CLIENT_PYTHON_ARRAY_H_
#define LOSSD_CLIENT_PYTHON_ARRAY_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lossd/dtype.h"
#include "lossd/tensor.h"

namespace lossd::python {

namespace nb = nanobind;

// The dimensions of an array from the one that varies slowest in memory to the fastest.
using Order = std::vector<int>;

// An array of the caller's in memory of the CPU. Keeps the memory alive; is made and destroyed
// under the GIL.
struct Array {
  nb::ndarray<nb::ro> hold;  // of DLPack or the buffer protocol
  nb::object owner;          // of __array_interface__
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
  std::byte* data = nullptr;
  bool read_only = false;  // as __array_interface__ says

  int64_t count() const { return ElementCount(shape).value_or(0); }
  size_t byte_count() const { return static_cast<size_t>(count() * SizeOf(dtype)); }
};

// Reads what has __dlpack__, the buffer protocol or __array_interface__; nothing is copied.
// TypeError for what has none of them, an unknown element type, or memory that is not the CPU's.
// `name` is the argument's, for messages.
Array ReadArray(nb::handle source, std::string_view name);

// Whether the memory of an array that was read from `source` may be written to.
bool IsWritable(nb::handle source, const Array& array);

Order RowMajor(size_t rank);

// The order in which the elements lie without gaps, each once; row-major if that is one. nullopt if
// there is none.
std::optional<Order> DenseOrder(const Array& array);

// Whether the elements lie without gaps in this order. Dimensions of extent 1 are anywhere.
bool LiesIn(const Array& array, const Order& order);

// `order` without dimension `axis`, of an array that does not have it.
Order WithoutAxis(const Order& order, int axis);

// The extents as they lie in memory.
std::vector<int64_t> InOrder(const std::vector<int64_t>& shape, const Order& order);

// "float32" for DType::kF32: what NumPy and PyTorch call it.
const char* FrameworkName(DType dtype);

// The dtype that a name or a dtype object of NumPy's or PyTorch's stands for: "f32", "float32",
// numpy.float32, torch.float32. TypeError for anything else.
DType ReadDType(nb::handle value, std::string_view name);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_ARRAY_H_
