#include <nanobind/nanobind.h>

#include "client/python/call.h"
#include "client/python/native_client.h"
#include "client/python/spec.h"

namespace nb = nanobind;

NB_MODULE(_core, module) {
  // A daemon thread keeps what it holds until the end of the process.
  nb::set_leak_warnings(false);
  module.attr("__version__") = LOSSD_VERSION;
  lossd::python::BindSpec(module);
  lossd::python::BindResult(module);
  lossd::python::BindClient(module);
}
