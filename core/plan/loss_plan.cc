#include "core/plan/loss_plan.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/checks.h"
#include "core/plan/class_weights.h"
#include "core/plan/geometry.h"
#include "core/plan/label_lists.h"
#include "core/plan/options.h"
#include "lossd/shapes.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

// Checks a tensor that has an element for each position, or for each element of the predictions.
absl::Status CheckTensor(const TensorFacts& row, const TensorDesc& tensor,
                         const TensorDesc& predictions, const plan::Geometry& geometry,
                         const LossFacts& loss) {
  const auto field = [&row](const char* part) { return plan::Field(row.name, part); };
  LOSSD_RETURN_IF_ERROR(row.floating ? plan::CheckFloating(field("dtype"), tensor.dtype)
                                     : plan::CheckDTypeKnown(field("dtype"), tensor.dtype));
  const Per per = row.role == Role::kTargetValues ? loss.targets_per : row.per;
  LOSSD_RETURN_IF_ERROR(per == Per::kPosition && loss.family != Family::kElements
                            ? plan::CheckLabelShape(field("shape"), tensor, predictions, geometry)
                            : plan::CheckSameShape(field("shape"), tensor, predictions));
  return plan::CheckLayout(field("layout"), tensor, predictions);
}

absl::Status CheckClassOrOne(const TensorFacts& row, const TensorDesc& tensor,
                             const plan::Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(plan::CheckFloating({row.name, "dtype"}, tensor.dtype));
  const auto& shape = tensor.shape;
  if (shape.size() == 1 && (shape[0] == 1 || shape[0] == geometry.classes)) {
    return absl::OkStatus();
  }
  return plan::RefuseShape({row.name, "shape"}, shape,
                           absl::StrCat("[", geometry.classes, "] or [1]"));
}

// Every position costs the square of the number of classes for each iteration.
constexpr int64_t kMaxMetricClasses = 4096;

absl::Status CheckMetric(const TensorFacts& row, const TensorDesc& tensor,
                         const TensorDesc& predictions, const plan::Geometry& geometry) {
  const int64_t classes = geometry.classes;
  if (classes > kMaxMetricClasses) {
    return plan::RefuseShape(
        "predictions.shape", predictions.shape,
        absl::StrCat("at most ", kMaxMetricClasses, " classes with ", std::string(row.name)));
  }
  LOSSD_RETURN_IF_ERROR(plan::CheckFloating({row.name, "dtype"}, tensor.dtype));
  LOSSD_RETURN_IF_ERROR(plan::CheckLayout({row.name, "layout"}, tensor, predictions));
  if (tensor.shape == std::vector<int64_t>{classes, classes}) return absl::OkStatus();
  return plan::RefuseShape({row.name, "shape"}, tensor.shape,
                           absl::StrCat("[", classes, ",", classes, "]"));
}

absl::Status CheckTargetKind(TargetKind kind) {
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    if (row.target_kind == kind) return absl::OkStatus();
  }
  if (kind == TargetKind::kNone) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("the kind of the targets is ",
                                               static_cast<int>(kind),
                                               "; wanted class indices or class probabilities"));
}

absl::Status CheckTargets(const LossTensorDescs& tensors, const plan::Geometry& geometry,
                          const LossFacts& loss) {
  return CheckTensors(tensors, [&](const TensorFacts& row, const TensorDesc& tensor) {
    if (!row.target_kind) return absl::OkStatus();
    return CheckTensor(row, tensor, tensors.predictions, geometry, loss);
  });
}

// Checks what is neither predictions nor targets nor class weights.
absl::Status CheckOthers(const LossTensorDescs& tensors, const plan::Geometry& geometry,
                         const LossFacts& loss) {
  return CheckTensors(tensors, [&](const TensorFacts& row, const TensorDesc& tensor) {
    if (row.target_kind || row.per == Per::kClass || row.role == Role::kPredictions) {
      return absl::OkStatus();
    }
    if (row.per == Per::kClassOrOne) return CheckClassOrOne(row, tensor, geometry);
    if (row.per == Per::kSequence) return plan::CheckLengths(row, tensor, std::nullopt);
    if (row.per == Per::kSlot) return absl::OkStatus();  // see CheckLabelLists
    if (row.per == Per::kClassPair) return CheckMetric(row, tensor, tensors.predictions, geometry);
    if (row.role == Role::kUpstreamGradient && loss.family == Family::kGroups) {
      return absl::OkStatus();  // see MakeGroupsPlan
    }
    return CheckTensor(row, tensor, tensors.predictions, geometry, loss);
  });
}

absl::Status CheckClassBias(const TensorDesc& bias, const plan::Geometry& geometry) {
  LOSSD_RETURN_IF_ERROR(plan::CheckFloating({"class_bias", "dtype"}, bias.dtype));
  if (bias.shape == std::vector<int64_t>{geometry.classes}) return absl::OkStatus();
  return plan::RefuseShape({"class_bias", "shape"}, bias.shape,
                           absl::StrCat("[", geometry.classes, "], one for each class"));
}

std::optional<double> FixedDenominator(const LossSpec& spec, const plan::Geometry& geometry,
                                       int64_t positions) {
  switch (spec.reduction) {
    case Reduction::kPositions:
      return static_cast<double>(positions);
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
  LOSSD_ASSIGN_OR_RETURN(plan::Geometry geometry, plan::MakeGeometry(predictions, spec.class_axis));
  const LossFacts& loss = FactsOf(spec.loss);
  LOSSD_RETURN_IF_ERROR(CheckTargetKind(tensors.target_kind));
  LOSSD_RETURN_IF_ERROR(plan::CheckTensorRules(loss.name, loss.tensors, tensors));
  LOSSD_RETURN_IF_ERROR(plan::CheckNeeds(spec.loss, tensors));
  LossPlan made;
  if (loss.family == Family::kSequences) {
    LOSSD_RETURN_IF_ERROR(plan::CheckOptionsOf(spec.loss));
    LOSSD_ASSIGN_OR_RETURN(made.sequences_, plan::MakeSequencesPlan(spec, tensors, geometry));
    geometry.batch = made.sequences_->count;
  } else if (tensors.sparse_probabilities || loss.label_lists) {
    LOSSD_ASSIGN_OR_RETURN(made.slots_, plan::CheckLabelLists(tensors, geometry));
  } else {
    LOSSD_RETURN_IF_ERROR(CheckTargets(tensors, geometry, loss));
  }
  if (loss.family == Family::kGroups) {
    LOSSD_RETURN_IF_ERROR(plan::CheckOptionsOf(spec.loss));
    LOSSD_ASSIGN_OR_RETURN(made.groups_, plan::MakeGroupsPlan(spec, tensors, geometry));
  }
  LOSSD_RETURN_IF_ERROR(plan::CheckOptions(spec, tensors, geometry));

  made.spec_ = spec;
  made.outer_ = geometry.outer;
  made.classes_ = geometry.classes;
  made.inner_ = geometry.inner;
  made.spec_.class_axis = geometry.class_axis;
  const OutputDTypes dtypes = OutputDTypesOf(spec, tensors);
  made.spec_.gradient_dtype = dtypes.gradient;
  if (tensors.second_predictions) made.spec_.second_gradient_dtype = dtypes.second_gradient;
  if (spec.reduction == Reduction::kNone) made.spec_.outputs.position_losses = true;
  made.spec_.weight_normalization.reset();
  if (tensors.class_weights) {
    const auto normalization = spec.weight_normalization.value_or(WeightNormalization::kLocal);
    made.spec_.weight_normalization = normalization;
    LOSSD_ASSIGN_OR_RETURN(
        made.class_weights_,
        plan::MakeClassWeightsPlan(*tensors.class_weights, normalization, predictions, geometry));
  }
  if (!made.sequences_) LOSSD_RETURN_IF_ERROR(CheckOthers(tensors, geometry, loss));
  if (tensors.class_bias) {
    LOSSD_RETURN_IF_ERROR(CheckClassBias(*tensors.class_bias, geometry));
  }
  if (made.sequences_) {
    made.positions_shape_ = {made.sequences_->count};
  } else if (made.groups_) {
    made.positions_shape_ = made.groups_->shape;
  } else if (loss.family == Family::kElements) {
    made.positions_shape_ = predictions.shape;
  } else if (tensors.target_kind != TargetKind::kClassIndices || made.slots_ > 0) {
    made.positions_shape_ = Without(predictions.shape, geometry.class_axis);
  }
  made.fixed_denominator_ = FixedDenominator(spec, geometry, made.counted_positions());
  made.tensors_ = std::move(tensors);
  return made;
}

LossPlan::BoxBytes LossPlan::BytesOf(const Box& box) const {
  const int64_t elements = box.outer_count * box.inner_count * classes_;
  const auto size = [&](Per per, DType dtype) {
    return (per == Per::kElement ? elements : CountedIn(box)) * SizeOf(dtype);
  };
  BoxBytes bytes;
  for (size_t i = 0; i < kTensorCount; ++i) {
    const TensorRow<TensorDesc>& row = kTensorRows<TensorDesc>[i];
    const TensorDesc* const tensor = TensorOf(tensors_, row);
    if (tensor == nullptr || !IsInBlocks(row)) continue;
    bytes.*kTensorRows<int64_t>[i].in_block = size(row.per, tensor->dtype);
  }
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputRow<bool>& row = kOutputRows<bool>[i];
    if (!(outputs().*row.member)) continue;
    bytes.*kOutputRows<int64_t>[i].member = size(row.per, output_dtypes().Of(row.dtype));
  }
  return bytes;
}

absl::Status LossPlan::CheckBox(const Box& box) const {
  if (in_one_box() && box != whole()) {
    const auto text = [](const Box& of) {
      return absl::StrCat("outer ", of.outer_begin, "+", of.outer_count, ", inner ", of.inner_begin,
                          "+", of.inner_count);
    };
    const std::string_view name = FactsOf(spec_.loss).name;
    return plan::Refuse("box", text(box),
                        absl::StrCat(text(whole()), ": the loss ", std::string(name),
                                     " takes all predictions in one block"));
  }
  LOSSD_RETURN_IF_ERROR(CheckInterval("outer", box.outer_begin, box.outer_count, outer_));
  return CheckInterval("inner", box.inner_begin, box.inner_count, inner_);
}

}  // namespace lossd
