#include "protos/wire/spec_codec.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lossd/status_macros.h"
#include "protos/wire/enums.h"
#include "protos/wire/loss_codec.h"
#include "protos/wire/region_codec.h"
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
constexpr uint8_t RegionTag(const OutputFacts& row) {
  return static_cast<uint8_t>(RegionField(row) << 3 | 2);
}

// A field of lossd.v1.Outputs: whether an output is wanted or, if `region` is set, where it goes.
struct OutputField {
  size_t row = 0;
  bool wanted = false;
  std::optional<Region> region;
};

// Takes the first field off `message`, as encoders write it. nullopt: it is not that.
std::optional<OutputField> TakeOutput(absl::Span<const uint8_t>& message) {
  if (message.size() < 2) return std::nullopt;
  const uint8_t tag = message[0];
  message.remove_prefix(1);
  for (size_t i = 0; i < kOutputCount; ++i) {
    const OutputFacts& row = kOutputRows<bool>[i];
    OutputField field = {.row = i, .wanted = message[0] != 0, .region = {}};
    if (tag == WantedTag(row)) {
      if (message[0] >= 0x80) return std::nullopt;
      message.remove_prefix(1);
      return field;
    }
    if (RegionField(row) == 0 || tag != RegionTag(row)) continue;
    if (!TakeRegion(message, field.region)) return std::nullopt;
    return field;
  }
  return std::nullopt;
}

// Calls visit(field) for the fields of outputs that are plain.
template <class Visit>
void ForEachOutput(absl::Span<const uint8_t> plain, Visit visit) {
  while (!plain.empty()) visit(*TakeOutput(plain));
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
  ForEachOutput(large.slot(slot).small, [&outputs](const OutputField& field) {
    if (field.region) return;
    const OutputRow<bool>& row = kOutputRows<bool>[field.row];
    outputs.wanted.*row.member = field.wanted;
    outputs.said.*row.member = true;
  });
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
Writer ToProto(const OutputSet& outputs, const LossFacts& loss, const OutputRegions& regions) {
  Writer written;
  for (const OutputRow<bool>& row : kOutputRows<bool>) {
    const int wanted = outputs.*row.member ? 1 : 0;
    if (row.is_gradient() && HasOutput(loss, row.of)) {
      written.SetNumber(row.outputs_field, wanted);
    } else {
      written.Number(row.outputs_field, wanted);
    }
  }
  for (const auto& row : kOutputRows<std::optional<Region>>) {
    const std::optional<Region>& region = regions.*row.member;
    if (region) written.Message(RegionField(row), ToProto(*region));
  }
  return written;
}

}  // namespace

bool AreOutputsPlain(absl::Span<const uint8_t> message) {
  OutputRegions seen;
  while (!message.empty()) {
    const std::optional<OutputField> field = TakeOutput(message);
    if (!field) return false;
    if (!field->region) continue;
    std::optional<Region>& region = seen.*kOutputRows<std::optional<Region>>[field->row].member;
    if (region) return false;  // protobuf merges the two
    region = field->region;
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

absl::StatusOr<OutputRegions> ReadOutputRegions(const LossSpec& spec, const v1::Outputs& parsed,
                                                const LargeFields& large, int slot) {
  OutputRegions regions;
  ForEachOutput(large.slot(slot).small, [&regions](const OutputField& field) {
    if (field.region) {
      regions.*kOutputRows<std::optional<Region>>[field.row].member = field.region;
    }
  });
  for (size_t i = 0; i < kOutputCount; ++i) {
    const auto& row = kOutputRows<std::optional<Region>>[i];
    if (RegionField(row) == 0) continue;
    const auto* const field = parsed.GetDescriptor()->FindFieldByNumber(RegionField(row));
    const std::string name = absl::StrCat("outputs.", field->name());
    std::optional<Region>& region = regions.*row.member;
    if (parsed.GetReflection()->HasField(parsed, field)) {
      LOSSD_ASSIGN_OR_RETURN(
          region, FromProto(name, static_cast<const v1::Region&>(
                                      parsed.GetReflection()->GetMessage(parsed, field))));
    }
    if (!region) continue;
    LOSSD_RETURN_IF_ERROR(CheckOffset(name, *region));
    if (!(spec.outputs.*kOutputRows<bool>[i].member)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is set; wanted none, for this output is not wanted"));
    }
  }
  return regions;
}

Writer ToProto(const LossSpec& spec, const OutputRegions& regions) {
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
  written.Message(Spec::kOutputsFieldNumber, ToProto(spec.outputs, FactsOf(spec.loss), regions));
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
