#include "client/python/value.h"

#include <limits>

namespace lossd::python {

void ThrowWrongType(std::string_view name, nb::handle got, std::string_view wanted) {
  const auto text = nb::cast<std::string>(nb::repr(got));
  throw nb::type_error(
      absl::StrCat(std::string(name), " is ", text, "; wanted ", std::string(wanted)).c_str());
}

void ThrowWrongWord(std::string_view name, std::string_view got, std::string_view wanted) {
  throw nb::value_error(absl::StrCat(std::string(name), " is \"", std::string(got),
                                     "\"; wanted one of ", std::string(wanted))
                            .c_str());
}

double FieldType<double>::Read(nb::handle from, std::string_view name) {
  const double value = PyFloat_AsDouble(from.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    ThrowWrongType(name, from, "a number");
  }
  return value;
}

bool FieldType<bool>::Read(nb::handle from, std::string_view name) {
  if (!PyBool_Check(from.ptr())) ThrowWrongType(name, from, "True or False");
  return from.ptr() == Py_True;
}

int64_t FieldType<int64_t>::Read(nb::handle from, std::string_view name) {
  const nb::object index = nb::steal(PyNumber_Index(from.ptr()));
  if (!index.is_valid()) {
    PyErr_Clear();
    ThrowWrongType(name, from, "an integer");
  }
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) {
    throw nb::value_error(absl::StrCat(std::string(name), " does not fit into 64 bits").c_str());
  }
  return value;
}

int FieldType<int>::Read(nb::handle from, std::string_view name) {
  const int64_t value = FieldType<int64_t>::Read(from, name);
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) {
    throw nb::value_error(
        absl::StrCat(std::string(name), " is ", value, "; wanted an index").c_str());
  }
  return static_cast<int>(value);
}

}  // namespace lossd::python
