#include "core/plan/loss_plan.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "core/plan/class_weights.h"
#include "core/plan/geometry.h"
#include "core/plan/options.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::Status CheckTargets(const LossTensorDescs& tensors, const plan::Geometry& geometry) {
  const TensorDesc& targets = tensors.targets;
  switch (tensors.target_kind) {
    case TargetKind::kClassIndices:
      LOSSD_RETURN_IF_ERROR(plan::CheckDTypeKnown("class_indices.dtype", targets.dtype));
      LOSSD_RETURN_IF_ERROR(
          plan::CheckLabelShape("class_indices.shape", targets, tensors.predictions, geometry));
      return plan::CheckLayout("class_indices.layout", targets, tensors.predictions);
    case TargetKind::kClassProbabilities:
      LOSSD_RETURN_IF_ERROR(plan::CheckFloating("class_probabilities.dtype", targets.dtype));
      if (targets.shape != tensors.predictions.shape) {
        return plan::RefuseShape(
            "class_probabilities.shape", targets.shape,
            absl::StrCat("the predictions' shape ", ShapeString(tensors.predictions.shape)));
      }
      return plan::CheckLayout("class_probabilities.layout", targets, tensors.predictions);
  }
  return absl::UnimplementedError(absl::StrCat("the kind of the targets is ",
                                               static_cast<int>(tensors.target_kind),
                                               "; wanted class indices or class probabilities"));
}

// A floating tensor with one element per position.
absl::Status CheckPerPosition(std::string_view name, const TensorDesc& tensor,
                              const TensorDesc& predictions, const plan::Geometry& geometry) {
  const auto field = [name](const char* part) {
    return absl::StrCat(absl::string_view(name.data(), name.size()), ".", part);
  };
  LOSSD_RETURN_IF_ERROR(plan::CheckFloating(field("dtype"), tensor.dtype));
  LOSSD_RETURN_IF_ERROR(plan::CheckLabelShape(field("shape"), tensor, predictions, geometry));
  return plan::CheckLayout(field("layout"), tensor, predictions);
}

std::optional<double> FixedDenominator(const LossSpec& spec, const plan::Geometry& geometry) {
  switch (spec.reduction) {
    case Reduction::kPositions:
      return static_cast<double>(geometry.outer * geometry.inner);
    case Reduction::kBatch:
      return static_cast<double>(*geometry.batch);
    case Reduction::kGiven:
      if (*spec.denominator == 0) return std::nullopt;
      return spec.denominator;
    case Reduction::kSum:
    case Reduction::kNone:
      return 1;
    case Reduction::kValid:
    case Reduction::kWeightSum:
      break;
  }
  return std::nullopt;
}

// `begin` and `count` along a dimension of `extent` positions.
absl::Status CheckInterval(std::string_view dimension, int64_t begin, int64_t count,
                           int64_t extent) {
  const absl::string_view name(dimension.data(), dimension.size());
  if (begin < 0 || begin >= extent) {
    return plan::Refuse(
        absl::StrCat("box.", name, "_begin"), absl::StrCat(begin),
        extent == 0 ? "no box: there are no positions" : absl::StrCat("0..", extent - 1));
  }
  if (count < 1 || count > extent - begin) {
    return plan::Refuse(absl::StrCat("box.", name, "_count"), absl::StrCat(count),
                        absl::StrCat("1..", extent - begin, ", since box.", name, "_begin is ",
                                     begin, " of ", extent));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LossPlan> LossPlan::Make(const LossSpec& spec, LossTensorDescs tensors) {
  const TensorDesc& predictions = tensors.predictions;
  LOSSD_ASSIGN_OR_RETURN(const plan::Geometry geometry,
                         plan::MakeGeometry(predictions, spec.class_axis));
  LOSSD_RETURN_IF_ERROR(CheckTargets(tensors, geometry));
  LOSSD_RETURN_IF_ERROR(plan::CheckOptions(spec, tensors, geometry));

  LossPlan made;
  made.spec_ = spec;
  made.outer_ = geometry.outer;
  made.classes_ = geometry.classes;
  made.inner_ = geometry.inner;
  made.spec_.class_axis = geometry.class_axis;
  made.spec_.gradient_dtype = spec.gradient_dtype.value_or(predictions.dtype);
  if (spec.reduction == Reduction::kNone) made.spec_.outputs.position_losses = true;
  if (tensors.class_weights) {
    const auto normalization = spec.weight_normalization.value_or(WeightNormalization::kLocal);
    made.spec_.weight_normalization = normalization;
    LOSSD_ASSIGN_OR_RETURN(
        made.class_weights_,
        plan::MakeClassWeightsPlan(*tensors.class_weights, normalization, predictions, geometry));
  }
  if (tensors.position_weights) {
    LOSSD_RETURN_IF_ERROR(
        CheckPerPosition("position_weights", *tensors.position_weights, predictions, geometry));
  }
  if (tensors.upstream_gradient) {
    LOSSD_RETURN_IF_ERROR(
        CheckPerPosition("upstream_gradient", *tensors.upstream_gradient, predictions, geometry));
  }
  if (tensors.target_kind == TargetKind::kClassProbabilities) {
    made.positions_shape_ = plan::Without(predictions.shape, geometry.class_axis);
  }
  made.fixed_denominator_ = FixedDenominator(spec, geometry);
  made.tensors_ = std::move(tensors);
  return made;
}

bool LossPlan::targets_come_whole() const {
  return tensors_.target_kind == TargetKind::kClassIndices || weighs_targets();
}

LossPlan::BoxBytes LossPlan::BytesOf(const Box& box) const {
  const int64_t positions = box.outer_count * box.inner_count;
  const int64_t elements = positions * classes_;
  BoxBytes bytes;
  bytes.predictions = elements * SizeOf(dtype());
  if (!targets_come_whole()) bytes.class_probabilities = elements * SizeOf(tensors_.targets.dtype);
  if (outputs().gradient) bytes.gradient = elements * SizeOf(gradient_dtype());
  if (outputs().position_losses) bytes.position_losses = positions * SizeOf(DType::kF64);
  if (outputs().log_sum_exp) bytes.log_sum_exp = positions * SizeOf(DType::kF64);
  if (outputs().argmax_hits) bytes.argmax_hits = positions * SizeOf(DType::kU8);
  if (outputs().probabilities) bytes.probabilities = elements * SizeOf(dtype());
  return bytes;
}

absl::Status LossPlan::CheckBox(const Box& box) const {
  LOSSD_RETURN_IF_ERROR(CheckInterval("outer", box.outer_begin, box.outer_count, outer_));
  return CheckInterval("inner", box.inner_begin, box.inner_count, inner_);
}

}  // namespace lossd
