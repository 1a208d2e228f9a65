#ifndef LOSSD_CLIENT_PYTHON_CALL_H_
#define LOSSD_CLIENT_PYTHON_CALL_H_

#include <nanobind/nanobind.h>

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

#include "client/python/array.h"
#include "client/python/frameworks.h"
#include "lossd/client.h"
#include "lossd/loss_result.h"
#include "lossd/loss_spec.h"

namespace lossd::python {

namespace nb = nanobind;

// What a call answers: the numbers, and by index of kOutputRows the arrays; None: not wanted.
struct Result {
  LossResult numbers;
  std::array<nb::object, kOutputCount> outputs;
};

// A call, from the caller's objects to views of their memory. Keeps every array alive until it is
// destroyed. Made and destroyed under the GIL; in between nothing of Python's is touched.
class Call {
 public:
  // Of the arguments of Client.compute. Throws TypeError and ValueError for what cannot be told to
  // the core; what it can be told, it checks itself.
  Call(nb::handle predictions, nb::handle targets, nb::handle spec, const nb::kwargs& arguments);

  const LossSpec& spec() const { return spec_; }
  const LossInputs& inputs() const { return inputs_; }
  const LossOutputs& outputs() const { return outputs_; }
  const CallOptions& options() const { return options_; }

  // The answer with its arrays. Once.
  Result Finish(LossResult numbers);

 private:
  struct Arguments;

  void AddPredictions(nb::handle predictions);
  void AddTargets(nb::handle targets, const Arguments& arguments);
  void AddSideTensors(const Arguments& arguments);
  void AddOutputs(const Arguments& arguments);
  void AddOutput(size_t index, nb::handle into);
  void CheckBatch() const;
  const TensorFacts& TargetOf(const Array& targets, nb::handle wanted) const;
  TensorView ViewOf(Array array, const TensorFacts& facts, std::string_view name);
  Order OrderFor(const Array& array, const TensorFacts& facts) const;
  std::vector<int64_t> PositionShape() const;

  LossSpec spec_;
  LossInputs inputs_;
  LossOutputs outputs_;
  CallOptions options_;
  Framework framework_ = Framework::kNumpy;
  Array predictions_;
  Order order_;                        // of the predictions
  std::optional<int> class_axis_;      // into their shape as the caller has it
  std::vector<int64_t> target_shape_;  // likewise
  std::vector<Array> held_;            // the other tensors, and what outputs are written to
  std::array<nb::object, kOutputCount> answers_;
};

// Class Result of the module, and Sums.
void BindResult(nb::module_& module);

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_CALL_H_
