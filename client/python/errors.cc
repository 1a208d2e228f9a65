#include "client/python/errors.h"

#include <nanobind/stl/string.h>

#include <string>

#include "lossd/client.h"

namespace lossd::python {

nb::object ErrorOf(const absl::Status& status) {
  return nb::module_::import_("lossd.errors")
      .attr("from_status")(absl::StatusCodeToString(status.code()), std::string(status.message()),
                           LossReason(status));
}

void Throw(const absl::Status& status) {
  const nb::object error = ErrorOf(status);
  PyErr_SetObject(error.type().ptr(), error.ptr());
  throw nb::python_error();
}

}  // namespace lossd::python
