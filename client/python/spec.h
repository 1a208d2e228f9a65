#ifndef LOSSD_CLIENT_PYTHON_SPEC_H_
#define LOSSD_CLIENT_PYTHON_SPEC_H_

#include <nanobind/nanobind.h>

#include "lossd/loss_spec.h"

namespace lossd::python {

namespace nb = nanobind;

// Class Spec of the module, of which every loss has a subclass (make_losses.py), and catalogue(),
// which says what these and the functions are made from: all losses, tensors and outputs.
void BindSpec(nb::module_& module);

// What a caller gave as the spec: a Spec, or the name of a loss with its default options.
const LossSpec& ReadSpec(nb::handle spec);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_SPEC_H_
