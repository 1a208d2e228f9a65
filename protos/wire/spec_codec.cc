#include "protos/wire/spec_codec.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <utility>

#include "lossd/status_macros.h"
#include "protos/wire/enums.h"
#include "protos/wire/loss_codec.h"
#include "protos/wire/unknown_fields.h"

namespace lossd::wire {
namespace {

constexpr bool Same(auto core, auto on_wire) {
  return static_cast<int>(core) == static_cast<int>(on_wire);
}
static_assert(Same(WeightNormalization::kLocal, v1::WEIGHT_NORMALIZATION_LOCAL));
static_assert(Same(WeightNormalization::kGlobal, v1::WEIGHT_NORMALIZATION_GLOBAL));
static_assert(Same(WeightNormalization::kNone, v1::WEIGHT_NORMALIZATION_NONE));
static_assert(Same(Reduction::kPositions, v1::REDUCTION_POSITIONS));
static_assert(Same(Reduction::kValid, v1::REDUCTION_VALID));
static_assert(Same(Reduction::kWeightSum, v1::REDUCTION_WEIGHT_SUM));
static_assert(Same(Reduction::kBatch, v1::REDUCTION_BATCH));
static_assert(Same(Reduction::kSum, v1::REDUCTION_SUM));
static_assert(Same(Reduction::kGiven, v1::REDUCTION_GIVEN));
static_assert(Same(Reduction::kNone, v1::REDUCTION_NONE));
static_assert(Same(AllIgnoredPolicy::kZero, v1::ALL_IGNORED_POLICY_ZERO));
static_assert(Same(AllIgnoredPolicy::kNan, v1::ALL_IGNORED_POLICY_NAN));
static_assert(Same(AllIgnoredPolicy::kError, v1::ALL_IGNORED_POLICY_ERROR));
static_assert(Same(NonFinitePolicy::kPropagate, v1::NON_FINITE_POLICY_PROPAGATE));
static_assert(Same(NonFinitePolicy::kError, v1::NON_FINITE_POLICY_ERROR));

// Whether an output is wanted, as encoders write it: a tag of one byte and one for the value.
constexpr uint8_t WantedTag(const OutputFacts& row) {
  return static_cast<uint8_t>(row.outputs_field << 3);
}

// Outputs that `outputs` does not speak of: gradients are wanted, the second one as the first.
struct Spoken {
  OutputSet wanted;
  OutputSet said = MapOutputs<bool>(OutputSet(), [](const OutputFacts&, bool) { return false; });
};

OutputSet WithDefaults(const Spoken& outputs, const LossFacts& loss) {
  OutputSet wanted = outputs.wanted;
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    if (row.dtype != OutputDType::kSecondGradient || outputs.said.*row.member) continue;
    wanted.*row.member = wanted.gradient && HasOutput(loss, row.of);
  }
  return wanted;
}

OutputSet ReadOutputs(const v1::Outputs& parsed, const LargeFields& large, int slot,
                      const LossFacts& loss) {
  Spoken outputs;
  const auto& small = large.slot(slot).small;
  for (size_t i = 0; i + 1 < small.size(); i += 2) {
    for (const OutputRow<bool>& row : kOutputRows<bool>) {
      if (small[i] != WantedTag(row)) continue;
      outputs.wanted.*row.member = small[i + 1] != 0;
      outputs.said.*row.member = true;
    }
  }
  if (!large.all_parsed()) return WithDefaults(outputs, loss);
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    const auto* const field = parsed.GetDescriptor()->FindFieldByNumber(row.outputs_field);
    const google::protobuf::Reflection* const reflection = parsed.GetReflection();
    if (field->has_presence() && !reflection->HasField(parsed, field)) continue;
    outputs.wanted.*row.member = reflection->GetBool(parsed, field);
    outputs.said.*row.member = true;
  }
  return WithDefaults(outputs, loss);
}

// The fields of gradients know whether they are set; those that a loss has are always written.
Writer ToProto(const OutputSet& outputs, const LossFacts& loss) {
  Writer written;
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    const int wanted = outputs.*row.member ? 1 : 0;
    if (row.is_gradient() && HasOutput(loss, row.of)) {
      written.SetNumber(row.outputs_field, wanted);
    } else {
      written.Number(row.outputs_field, wanted);
    }
  }
  return written;
}

}  // namespace

bool AreOutputsPlain(absl::Span<const uint8_t> message) {
  for (size_t i = 0; i < message.size(); i += 2) {
    const auto has_tag = [&](const OutputFacts& row) { return message[i] == WantedTag(row); };
    if (i + 1 == message.size() || message[i + 1] >= 0x80 ||
        std::ranges::none_of(kOutputRows<bool>, has_tag)) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<LossSpec> FromProto(const v1::LossSpec& spec, const LargeFields& large,
                                   SpecSlots slots) {
  LOSSD_RETURN_IF_ERROR(CheckKnown(spec));
  LOSSD_RETURN_IF_ERROR(CheckKnown(spec.outputs()));
  LossSpec read;
  LOSSD_ASSIGN_OR_RETURN(read.loss, ReadLoss(spec, large, slots.loss));
  if (spec.has_class_axis()) read.class_axis = spec.class_axis();
  if (spec.has_weight_normalization()) {
    LOSSD_ASSIGN_OR_RETURN(
        read.weight_normalization,
        ReadEnum<WeightNormalization>(
            "weight_normalization", spec.weight_normalization(),
            {v1::WeightNormalization_IsValid, v1::WeightNormalization_descriptor}));
  }
  read.ignore_labels.assign(spec.ignore_labels().begin(), spec.ignore_labels().end());
  read.label_smoothing = spec.label_smoothing();
  if (spec.has_loss_weight()) read.loss_weight = spec.loss_weight();
  if (spec.has_reduction()) {
    LOSSD_ASSIGN_OR_RETURN(read.reduction,
                           ReadEnum<Reduction>("reduction", spec.reduction(),
                                               {v1::Reduction_IsValid, v1::Reduction_descriptor}));
  }
  if (spec.has_denominator()) read.denominator = spec.denominator();
  if (spec.has_gradient_scale()) read.gradient_scale = spec.gradient_scale();
  if (spec.has_gradient_dtype()) {
    LOSSD_ASSIGN_OR_RETURN(read.gradient_dtype,
                           ReadEnum<DType>("gradient_dtype", spec.gradient_dtype(),
                                           {v1::DType_IsValid, v1::DType_descriptor}));
  }
  if (spec.has_second_gradient_dtype()) {
    LOSSD_ASSIGN_OR_RETURN(read.second_gradient_dtype,
                           ReadEnum<DType>("second_gradient_dtype", spec.second_gradient_dtype(),
                                           {v1::DType_IsValid, v1::DType_descriptor}));
  }
  if (spec.has_all_ignored_policy()) {
    LOSSD_ASSIGN_OR_RETURN(read.all_ignored_policy,
                           ReadEnum<AllIgnoredPolicy>(
                               "all_ignored_policy", spec.all_ignored_policy(),
                               {v1::AllIgnoredPolicy_IsValid, v1::AllIgnoredPolicy_descriptor}));
  }
  if (spec.has_non_finite_policy()) {
    LOSSD_ASSIGN_OR_RETURN(
        read.non_finite_policy,
        ReadEnum<NonFinitePolicy>("non_finite_policy", spec.non_finite_policy(),
                                  {v1::NonFinitePolicy_IsValid, v1::NonFinitePolicy_descriptor}));
  }
  read.outputs = ReadOutputs(spec.outputs(), large, slots.outputs, FactsOf(read.loss));
  return read;
}

Writer ToProto(const LossSpec& spec) {
  using Spec = v1::LossSpec;
  Writer written;
  const auto set_enum = [&written](int number, auto value) {
    written.SetNumber(number, static_cast<int>(value));
  };
  // In the order of the fields, as generated code writes them.
  const bool loss_is_first = FactsOf(spec.loss).number < Spec::kClassAxisFieldNumber;
  if (loss_is_first) WriteLoss(spec.loss, written);
  if (spec.class_axis) written.SetNumber(Spec::kClassAxisFieldNumber, *spec.class_axis);
  if (spec.weight_normalization) {
    set_enum(Spec::kWeightNormalizationFieldNumber, *spec.weight_normalization);
  }
  written.Packed(Spec::kIgnoreLabelsFieldNumber, spec.ignore_labels);
  written.Double(Spec::kLabelSmoothingFieldNumber, spec.label_smoothing);
  written.SetDouble(Spec::kLossWeightFieldNumber, spec.loss_weight);
  set_enum(Spec::kReductionFieldNumber, spec.reduction);
  if (spec.denominator) written.SetDouble(Spec::kDenominatorFieldNumber, *spec.denominator);
  written.SetDouble(Spec::kGradientScaleFieldNumber, spec.gradient_scale);
  if (spec.gradient_dtype) set_enum(Spec::kGradientDtypeFieldNumber, *spec.gradient_dtype);
  set_enum(Spec::kAllIgnoredPolicyFieldNumber, spec.all_ignored_policy);
  set_enum(Spec::kNonFinitePolicyFieldNumber, spec.non_finite_policy);
  written.Message(Spec::kOutputsFieldNumber, ToProto(spec.outputs, FactsOf(spec.loss)));
  if (!loss_is_first) WriteLoss(spec.loss, written);
  if (spec.second_gradient_dtype) {
    set_enum(Spec::kSecondGradientDtypeFieldNumber, *spec.second_gradient_dtype);
  }
  return written;
}

Box FromProto(const v1::Box& box) {
  return {box.outer_begin(), box.outer_count(), box.inner_begin(), box.inner_count()};
}

Writer ToProto(const Box& box) {
  Writer written;
  written.Number(v1::Box::kOuterBeginFieldNumber, box.outer_begin);
  written.Number(v1::Box::kOuterCountFieldNumber, box.outer_count);
  written.Number(v1::Box::kInnerBeginFieldNumber, box.inner_begin);
  written.Number(v1::Box::kInnerCountFieldNumber, box.inner_count);
  return written;
}

}  // namespace lossd::wire
