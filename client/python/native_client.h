#ifndef LOSSD_CLIENT_PYTHON_NATIVE_CLIENT_H_
#define LOSSD_CLIENT_PYTHON_NATIVE_CLIENT_H_

#include <nanobind/nanobind.h>

namespace lossd::python {

namespace nb = nanobind;

// Classes Client, which the package's extends, Stop and ServerInfo of the module.
void BindClient(nb::module_& module);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_NATIVE_CLIENT_H_
