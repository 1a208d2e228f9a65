#ifndef LOSSD_TESTS_CORE_PLAN_REQUEST_H_
#define LOSSD_TESTS_CORE_PLAN_REQUEST_H_

#include <vector>

#include "lossd/loss_spec.h"

namespace lossd::plan_test {

// What LossPlan::Make is asked.
struct Request {
  LossSpec spec;
  LossTensorDescs tensors;

  // f32 logits of this shape with i64 labels that fit: the class axis, an index >= 0, removed. The
  // spec is left to its defaults.
  static Request Of(const std::vector<int64_t>& shape, Layout layout, int class_axis) {
    std::vector<int64_t> labels = shape;
    labels.erase(labels.begin() + class_axis);
    Request request;
    request.tensors.predictions = {DType::kF32, shape, layout};
    request.tensors.targets = {DType::kI64, labels, layout};
    return request;
  }

  void UseProbabilities(DType dtype) {
    tensors.target_kind = TargetKind::kClassProbabilities;
    tensors.targets = {dtype, tensors.predictions.shape, tensors.predictions.layout};
  }
};

}  // namespace lossd::plan_test

#endif  // LOSSD_TESTS_CORE_PLAN_REQUEST_H_
