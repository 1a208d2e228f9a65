#ifndef LOSSD_TESTS_SUPPORT_LOSS_CASE_H_
#define LOSSD_TESTS_SUPPORT_LOSS_CASE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "lossd/loss_spec.h"
#include "tests/support/real.h"

namespace lossd::oracle {

// A tensor that owns its bytes.
struct OwnedTensor {
  TensorDesc desc;
  std::vector<std::byte> bytes;

  // Element i in memory order is value(i), rounded to the dtype.
  static OwnedTensor Make(DType dtype, std::vector<int64_t> shape, Layout layout,
                          absl::FunctionRef<Real(int64_t)> value);
  // Row-major, the elements listed in memory order.
  static OwnedTensor Of(DType dtype, std::vector<int64_t> shape, const std::vector<Real>& values);

  int64_t size() const { return static_cast<int64_t>(bytes.size()) / SizeOf(desc.dtype); }
  Real at(int64_t i) const { return Widen(desc.dtype, bytes.data() + i * SizeOf(desc.dtype)); }
  void set(int64_t i, Real value) {
    Store(desc.dtype, value, bytes.data() + i * SizeOf(desc.dtype));
  }
  TensorView view() const { return {desc, bytes}; }
};

// One request, with everything it needs.
struct LossCase {
  LossSpec spec;
  OwnedTensor predictions;
  TargetKind target_kind = TargetKind::kClassIndices;
  OwnedTensor targets;
  std::optional<OwnedTensor> class_weights;
  std::optional<OwnedTensor> position_weights;
  std::optional<OwnedTensor> upstream_gradient;
  std::optional<OwnedTensor> second_predictions;
  std::optional<OwnedTensor> pos_weight;
  std::optional<OwnedTensor> class_bias;
  std::optional<OwnedTensor> advantages;
  std::optional<OwnedTensor> old_log_probabilities;
  std::optional<OwnedTensor> reference_log_probabilities;
  std::optional<OwnedTensor> second_reference_log_probabilities;
  std::optional<OwnedTensor> old_values;
  std::optional<OwnedTensor> sequence_lengths;
  std::optional<OwnedTensor> label_lengths;
  std::optional<OwnedTensor> input_lengths;
  std::optional<OwnedTensor> sparse_probabilities;
  std::optional<OwnedTensor> ground_metric;

  // Views into this.
  LossInputs inputs() const;
};

// As LossSpec has it.
std::string NameOf(const Loss& loss);

// Everything but the values, in a few lines, for failure messages.
std::string Describe(const LossCase& loss_case);

// All outputs the loss has.
OutputSet AllOutputs(const Loss& loss);

}  // namespace lossd::oracle

#endif  // LOSSD_TESTS_SUPPORT_LOSS_CASE_H_
