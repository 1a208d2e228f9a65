#ifndef LOSSD_CLIENT_PYTHON_ERRORS_H_
#define LOSSD_CLIENT_PYTHON_ERRORS_H_

#include <nanobind/nanobind.h>

#include "absl/status/status.h"

namespace lossd::python {

namespace nb = nanobind;

// The exception that stands for a status that is not OK, made by lossd.errors. Under the GIL.
nb::object ErrorOf(const absl::Status& status);

// Throws it.
[[noreturn]] void Throw(const absl::Status& status);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_ERRORS_H_
