#include "client/python/array.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd::python {
namespace {

struct NamedDType {
  DType dtype;
  const char* name;
};
constexpr NamedDType kNames[] = {
    {DType::kF32, "float32"},   {DType::kF64, "float64"}, {DType::kF16, "float16"},
    {DType::kBF16, "bfloat16"}, {DType::kI8, "int8"},     {DType::kI16, "int16"},
    {DType::kI32, "int32"},     {DType::kI64, "int64"},   {DType::kU8, "uint8"},
    {DType::kU16, "uint16"},    {DType::kU32, "uint32"},  {DType::kU64, "uint64"},
};

std::optional<DType> ByFrameworkName(std::string_view name) {
  for (const NamedDType& row : kNames) {
    if (row.name == name) return row.dtype;
  }
  if (name == "bool") return DType::kU8;
  return std::nullopt;
}

std::string Text(std::string_view text) { return std::string(text); }

std::string TypeName(nb::handle object) {
  return nb::cast<std::string>(nb::str(nb::type_name(object.type())));
}

[[noreturn]] void ThrowTypeError(const std::string& message) {
  throw nb::type_error(message.c_str());
}

std::optional<DType> FromDlpack(const nb::dlpack::dtype& dtype) {
  if (dtype.lanes != 1) return std::nullopt;
  const auto sized = [&](std::initializer_list<DType> dtypes) -> std::optional<DType> {
    for (const DType candidate : dtypes) {
      if (SizeOf(candidate) * 8 == dtype.bits) return candidate;
    }
    return std::nullopt;
  };
  switch (static_cast<nb::dlpack::dtype_code>(dtype.code)) {
    case nb::dlpack::dtype_code::Float:
      return sized({DType::kF16, DType::kF32, DType::kF64});
    case nb::dlpack::dtype_code::Bfloat:
      return sized({DType::kBF16});
    case nb::dlpack::dtype_code::Int:
      return sized({DType::kI8, DType::kI16, DType::kI32, DType::kI64});
    case nb::dlpack::dtype_code::UInt:
      return sized({DType::kU8, DType::kU16, DType::kU32, DType::kU64});
    case nb::dlpack::dtype_code::Bool:
      return sized({DType::kU8});
    default:
      return std::nullopt;
  }
}

bool IsCpu(int device_type) {
  return device_type == nb::device::cpu::value || device_type == nb::device::cuda_host::value ||
         device_type == nb::device::rocm_host::value;
}

Array FromNdarray(nb::ndarray<nb::ro> array, std::string_view name) {
  if (!IsCpu(array.device_type())) {
    ThrowTypeError(absl::StrCat(Text(name), " is on a device; wanted memory of the CPU"));
  }
  const std::optional<DType> dtype = FromDlpack(array.dtype());
  if (!dtype) ThrowTypeError(absl::StrCat(Text(name), " has a dtype that lossd does not have"));
  Array result;
  result.dtype = *dtype;
  result.shape.assign(array.shape_ptr(), array.shape_ptr() + array.ndim());
  result.strides.assign(array.stride_ptr(), array.stride_ptr() + array.ndim());
  result.data = static_cast<std::byte*>(const_cast<void*>(static_cast<const void*>(array.data())));
  result.hold = std::move(array);
  return result;
}

// ml_dtypes' arrays have neither DLPack nor the buffer protocol.
Array FromInterface(nb::handle source, const nb::object& interface, std::string_view name) {
  Array result;
  const auto dtype_name = nb::cast<std::string>(nb::str(source.attr("dtype").attr("name")));
  const std::optional<DType> dtype = ByFrameworkName(dtype_name);
  if (!dtype) {
    ThrowTypeError(
        absl::StrCat(Text(name), " has dtype ", dtype_name, ", which lossd does not have"));
  }
  result.dtype = *dtype;
  for (const nb::handle extent : interface["shape"]) {
    result.shape.push_back(nb::cast<int64_t>(extent));
  }
  const nb::object strides = interface.attr("get")("strides");
  if (strides.is_none()) {
    int64_t stride = 1;
    result.strides.resize(result.shape.size());
    for (size_t i = result.shape.size(); i-- > 0; stride *= result.shape[i]) {
      result.strides[i] = stride;
    }
  } else {
    for (const nb::handle stride : strides) {
      result.strides.push_back(nb::cast<int64_t>(stride) / SizeOf(result.dtype));
    }
  }
  const nb::object data = interface["data"];
  result.data = reinterpret_cast<std::byte*>(nb::cast<uintptr_t>(data[0]));
  result.read_only = nb::cast<bool>(data[1]);
  result.owner = nb::borrow(source);
  return result;
}

}  // namespace

const char* FrameworkName(DType dtype) {
  for (const NamedDType& row : kNames) {
    if (row.dtype == dtype) return row.name;
  }
  return "";
}

DType ReadDType(nb::handle value, std::string_view name) {
  std::string text;
  if (nb::isinstance<nb::str>(value)) {
    text = nb::cast<std::string>(value);
  } else if (nb::hasattr(value, "__name__")) {  // numpy.float32
    text = nb::cast<std::string>(nb::str(value.attr("__name__")));
  } else {  // numpy.dtype("float32"), torch.float32
    text = nb::cast<std::string>(nb::str(value));
  }
  constexpr std::string_view kTorch = "torch.";
  std::string_view plain = text;
  if (plain.substr(0, kTorch.size()) == kTorch) plain.remove_prefix(kTorch.size());
  if (const std::optional<DType> dtype = ByFrameworkName(plain)) return *dtype;
  if (const std::optional<DType> dtype = ParseDType(plain)) return *dtype;
  ThrowTypeError(absl::StrCat(Text(name), " is ", text, "; wanted a dtype, as \"float32\""));
}

Array ReadArray(nb::handle source, std::string_view name) {
  nb::ndarray<nb::ro> array;
  if (nb::try_cast(source, array)) return FromNdarray(std::move(array), name);
  if (nb::hasattr(source, "__array_interface__") && nb::hasattr(source, "dtype")) {
    return FromInterface(source, source.attr("__array_interface__"), name);
  }
  if (nb::hasattr(source, "requires_grad") && nb::cast<bool>(source.attr("requires_grad"))) {
    ThrowTypeError(absl::StrCat(Text(name), " requires a gradient; wanted ", Text(name),
                                ".detach(), or a function of lossd.torch"));
  }
  ThrowTypeError(absl::StrCat(Text(name), " is a ", TypeName(source),
                              "; wanted an array: NumPy's, PyTorch's, or anything with __dlpack__, "
                              "the buffer protocol or __array_interface__"));
}

bool IsWritable(nb::handle source, const Array& array) {
  if (array.owner.is_valid()) return !array.read_only;
  nb::ndarray<> writable;  // which nothing that is read-only is taken for
  return nb::try_cast(source, writable);
}

Order RowMajor(size_t rank) {
  Order order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

bool LiesIn(const Array& array, const Order& order) {
  if (array.count() == 0) return true;  // NumPy's strides are 0 then
  int64_t stride = 1;
  for (size_t i = order.size(); i-- > 0;) {
    const int dimension = order[i];
    if (array.shape[dimension] == 1) continue;
    if (array.strides[dimension] != stride) return false;
    stride *= array.shape[dimension];
  }
  return true;
}

std::optional<Order> DenseOrder(const Array& array) {
  Order order = RowMajor(array.shape.size());
  if (LiesIn(array, order)) return order;
  // Dimensions of extent 1 have any stride: they stay with the one after them.
  std::vector<int64_t> strides = array.strides;
  for (size_t i = strides.size(); i-- > 0;) {
    if (array.shape[i] == 1) strides[i] = i + 1 < strides.size() ? strides[i + 1] : 0;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&strides](int a, int b) { return strides[a] > strides[b]; });
  if (!LiesIn(array, order)) return std::nullopt;
  return order;
}

Order WithoutAxis(const Order& order, int axis) {
  Order rest;
  for (const int dimension : order) {
    if (dimension != axis) rest.push_back(dimension > axis ? dimension - 1 : dimension);
  }
  return rest;
}

std::vector<int64_t> InOrder(const std::vector<int64_t>& shape, const Order& order) {
  std::vector<int64_t> extents;
  extents.reserve(order.size());
  for (const int dimension : order) extents.push_back(shape[dimension]);
  return extents;
}

}  // namespace lossd::python
