#ifndef LOSSD_CLIENT_PYTHON_FRAMEWORKS_H_
#define LOSSD_CLIENT_PYTHON_FRAMEWORKS_H_

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

#include "client/python/array.h"
#include "lossd/dtype.h"

namespace lossd::python {

namespace nb = nanobind;

// Whose arrays an answer is made of: those of the predictions' framework. NumPy's where that is
// unknown, and until the answer is there for frameworks whose arrays cannot be written to.
enum class Framework { kNumpy, kTorch, kJax };

Framework FrameworkOf(nb::handle array);

// A new array, not initialised, whose elements lie in `order`.
nb::object NewArray(Framework framework, const std::vector<int64_t>& shape, DType dtype,
                    const Order& order);

// An array of NewArray's as the caller gets it.
nb::object Finished(Framework framework, nb::object array);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_FRAMEWORKS_H_
