#include "client/python/frameworks.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace lossd::python {
namespace {

// A framework's functions, looked up once. Never destroyed: the interpreter is gone by then.
struct Functions {
  explicit Functions(const char* name) : module(nb::module_::import_(name)) {
    empty = module.attr("empty");
  }

  nb::object module;
  nb::object empty;
  std::array<nb::object, std::size(kAllDTypes) + 1> dtypes;  // by number, once they are needed

  nb::handle DTypeOf(DType dtype, Framework framework) {
    nb::object& known = dtypes[static_cast<size_t>(dtype)];
    if (known.is_valid()) return known;
    const char* const name = FrameworkName(dtype);
    if (framework == Framework::kTorch) {
      known = module.attr(name);
    } else if (dtype == DType::kBF16) {
      known = module.attr("dtype")(nb::module_::import_("ml_dtypes").attr(name));
    } else {
      known = module.attr("dtype")(name);
    }
    return known;
  }
};

Functions& Of(Framework framework) {
  if (framework == Framework::kTorch) {
    static auto& torch = *new Functions("torch");
    return torch;
  }
  static auto& numpy = *new Functions("numpy");
  return numpy;
}

nb::tuple Tuple(const auto& values) {
  nb::object tuple = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(values.size())));
  for (size_t i = 0; i < values.size(); ++i) {
    PyTuple_SET_ITEM(tuple.ptr(), static_cast<Py_ssize_t>(i), PyLong_FromLongLong(values[i]));
  }
  return nb::borrow<nb::tuple>(tuple);
}

bool IsInstance(nb::handle array, const char* module, const char* type) {
  // An array of a module that is not loaded cannot exist.
  const nb::handle loaded = PyDict_GetItemString(PyImport_GetModuleDict(), module);
  return loaded.is_valid() && PyObject_IsInstance(array.ptr(), loaded.attr(type).ptr()) == 1;
}

}  // namespace

Framework FrameworkOf(nb::handle array) {
  static const nb::object& ndarray = *new nb::object(nb::module_::import_("numpy").attr("ndarray"));
  if (array.type().is(ndarray)) return Framework::kNumpy;
  if (IsInstance(array, "torch", "Tensor")) return Framework::kTorch;
  if (IsInstance(array, "jax", "Array")) return Framework::kJax;
  return Framework::kNumpy;
}

nb::object NewArray(Framework framework, const std::vector<int64_t>& shape, DType dtype,
                    const Order& order) {
  Functions& functions = Of(framework);
  const nb::handle type = functions.DTypeOf(dtype, framework);
  const nb::tuple extents = Tuple(InOrder(shape, order));
  nb::object array = framework == Framework::kTorch
                         ? functions.empty(extents, nb::arg("dtype") = type)
                         : functions.empty(extents, type);
  if (std::is_sorted(order.begin(), order.end())) return array;
  Order back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[order[i]] = static_cast<int>(i);
  return array.attr(framework == Framework::kTorch ? "permute" : "transpose")(Tuple(back));
}

nb::object Finished(Framework framework, nb::object array) {
  if (framework != Framework::kJax) return array;
  return nb::module_::import_("jax.numpy").attr("asarray")(array);
}

}  // namespace lossd::python
